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
run = gp.train(gp.LowRankRNN.published([40]), task, 0.01, 20_000, checkpoints=[9000, 10_150, 19_999])
print(run)

# %%
# The loss stays at chance, falls within a few hundred epochs, and then lowers slowly.

axes = run.plot()
axes.set_title("A plateau, a drop")

# %%
# The flow before the drop, inside it, and at the end. Where the curve comes near zero without
# touching it the network hardly moves: a ghost. How long it takes to pass is the delay.

latents = gp.slow_points.latents
kappa = np.linspace(-3, 2, 300)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for index, epoch in enumerate(run.checkpoints["epoch"].values):
    models = run.models_at(index)
    flow = latents.latent_flow(kappa, models.m[0, :, 0], models.n[0, :, 0], models.b[0])
    (line,) = axes.plot(kappa, flow, label=f"epoch {epoch}")
    ghosts = latents.flow_ghosts(models)
    axes.plot(ghosts.position[0], ghosts.height[0], "D", color=line.get_color())
axes.axhline(0, color="0.6", lw=0.8)
axes.set(xlabel="kappa", ylabel="dkappa / dt", title="Diamonds: ghosts, all there are")
axes.legend()

# %%
# Every fixed point and ghost of a rank-one network is found, with a proof that none was missed.

points = gp.find_slow_points(run.models[0], tau=task.tau, dt=task.dt)
print(points)
plt.show()
