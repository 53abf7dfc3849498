"""The CUDA engine: kernels that keep a network's weights on the chip over hundreds of epochs, and
their driver.
"""
