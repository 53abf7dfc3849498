"""
A task of your own, from arrays
===============================

Any task that can be written as arrays of inputs and targets can be trained. Here two pulses arrive,
and the answer is whether their signs agree.
"""

# %%
# Four trials of 24 steps. A mask says which answers count.

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp

signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
inputs = np.zeros((4, 24, 1))
inputs[:, 2:6, 0], inputs[:, 12:16, 0] = signs[:, :1], signs[:, 1:]
targets = np.zeros((4, 24, 1))
targets[:, 18:, 0] = np.where(signs[:, 0] == signs[:, 1], 1.0, -1.0)[:, None]
counts = np.zeros((4, 24), bool)
counts[:, 18:] = True
task = gp.tasks.from_arrays(inputs, targets, counts, dt=5.0, tau=10.0)
print(task)

# %%
# Eight networks of full rank with Adam, one call.

models = gp.FullRankRNN.initialize(50, range(8), n_inputs=1, activation="tanh", initial_state=0.0)
run = gp.train(models, task, 0.003, 600, optimizer="adam")
print(run)
run.plot()
plt.show()
