"""
The toy model at a delay and a confidence of your own
=====================================================

The published figure has T = 100 and a few confidences. Everything in it is a formula of T, the
threshold and the confidence c, so that another choice is another argument.
"""

# %%
# The loss has a kink at its minimum r* and is flat from the point of no return r*/4 down. A lower
# confidence leaves a slope there, by which gradient descent can come back.

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp

DELAY = 40.0
step = gp.SaddleNodeToy(T=DELAY)
r = step.r_star * np.linspace(-1, 4, 400)

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.plot(r / step.r_star, step.loss(r) / DELAY, color="black", label="step")
for confidence in (0.3, 1.0, 3.0):
    smooth = gp.SaddleNodeToy(T=DELAY, x_threshold=5.0, confidence=confidence)
    axes.plot(r / step.r_star, smooth.loss(r) / DELAY, label=f"c = {confidence:g}")
axes.axvspan(-1, 0.25, color="0.92", zorder=0)
axes.set(xlabel="r / r*", ylabel="loss / T", title="Grey: no gradient for the step")
axes.legend()

# %%
# Gradient descent at half of the critical rate swings around the minimum for ever. Three times as
# fast, one jump crosses the point of no return, and nothing moves any more.

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for factor in (0.5, 1.5):
    descent = step.descend(3 * step.r_star, factor * step.critical_learning_rate, 400)
    axes.plot(descent.epoch, descent.r / step.r_star, label=f"{factor:g} times critical: {descent.outcome}")
axes.axhline(0.25, color="0.6", lw=0.8)
axes.set(xlabel="epoch", ylabel="r / r*", title=f"Critical rate {step.critical_learning_rate:.2g}")
axes.legend()
plt.show()
