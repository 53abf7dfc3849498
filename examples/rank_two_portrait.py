"""
Fixed points and ghosts of a rank-two network
=============================================

A network with ``W = m n^T`` moves in the plane of its latents. Up to rank three the list of fixed
points is complete, and proven to be.
"""

# %%
# With n proportional to m, no bias and many units the fixed points would form a ring. A hundred
# units break it into a few, and a bias makes pairs of these meet: what is left of a pair is a
# ghost.

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp

draw = np.random.default_rng(1)
m = draw.normal(size=(100, 2))
n = (2.0 * m + 0.3 * draw.normal(size=m.shape)) / 100
model = gp.LowRankRNN(m=m[None], n=n[None], b=draw.normal(size=(1, 100)))
points = gp.find_slow_points(model)
print(points)
print(points.complete)

# %%
# Filled circles are stable, open ones are not, diamonds are ghosts, over the flow.

points.plot(model)
plt.show()
