"""The compiled engine: SIMD vectors, elementary functions, and the kernels made of them."""
