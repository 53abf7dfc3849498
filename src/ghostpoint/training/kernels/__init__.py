"""The kernels of the compiled engine: equations, forward passes and adjoints; `training.compiled`
drives them.
"""
