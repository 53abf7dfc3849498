"""
One network learns to wait, and a ghost keeps the time
======================================================

A rank-one network is trained on delayed activation: stay silent for 60 ms, then answer. Its state
is one number kappa as far as the dynamics go, so that the flow is a curve.
"""

# %%
# One call trains it. ``checkpoints`` keeps the weights of some epochs; the events are exact.

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp

task = gp.tasks.DelayedActivation(delay=60)  # ms; dt = 5 and tau = 10 as published
run = gp.train(gp.LowRankRNN.published([40]), task, 0.01, 20_000, checkpoints=range(0, 20_000, 400))
print(run)

# %%
# The loss stays at chance, falls within a few hundred epochs, and then lowers slowly.

axes = run.plot()
axes.set_title("A plateau, a drop")

# %%
# The flow before the drop, and at the end. Where the curve comes near zero without touching it the
# network hardly moves: a ghost. How long it takes to pass is the delay.

last = len(run.checkpoints["epoch"]) - 1
latents = gp.slow_points.latents
kappa = np.linspace(-3, 2, 300)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for index in (0, last):
    models = run.models_at(index)
    epoch = int(run.checkpoints["epoch"][index])
    ghosts = latents.flow_ghosts(models)
    (line,) = axes.plot(kappa, latents.latent_flow(models, kappa[None])[0], label=f"epoch {epoch}")
    axes.plot(ghosts.kappa[0], ghosts.height[0], "D", color=line.get_color())
axes.axhline(0, color="0.6", lw=0.8)
axes.set(xlabel="kappa", ylabel="dkappa / dt", title="Diamonds: ghosts, all there are")
axes.legend()

# %%
# Every fixed point and ghost of a rank-one network is found, with a proof that none was missed.

points = gp.find_slow_points(run.models[0], tau=task.tau, dt=task.dt)
print(points)
plt.show()
