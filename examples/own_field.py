"""
Slow points of a field of your own
==================================

The search takes any vector field that is given as a function. Here a pair of variables passes just
beside a saddle-node.
"""

# %%
# ``f`` takes states of shape (B, K). The derivative may be left out.

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import ghostpoint as gp


def f(x):
    """A saddle-node in the first variable; the second one follows."""
    return np.stack([0.01 + x[:, 0] ** 2, x[:, 0] - x[:, 1]], axis=1)


field = gp.slow_points.UserField(f, None, 2)
states = np.random.default_rng(0).uniform(-1, 1, (50, 2))
points = gp.find_slow_points(field, states=states)
print(points)

# %%
# The normal form at the ghost says how long it holds a trajectory, from end to end.

ghost = points.ghosts
print(f"predicted {float(ghost.escape_time[0]):.2f}")
path = solve_ivp(lambda t, x: f(x[None])[0], (0, 31.3), [-10.0, -10.0], rtol=1e-9, atol=1e-9)
print(f"simulated from -10 to {path.y[0, -1]:.1f}: {path.t[-1]:.1f}")

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.plot(path.t, path.y[0])
axes.axhline(float(ghost.position[0, 0]), color="0.6", lw=0.8)
axes.set(xlabel="time", ylabel="first variable", title="Held at the ghost", ylim=(-4, 4))
plt.show()
