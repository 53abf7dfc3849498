"""The mathematics of the CUDA engine, for a GPU and for numba-cuda's simulator alike."""
