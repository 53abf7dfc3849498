"""Drivers of the compiled kernels: which kernel, how many networks a call, threads."""
