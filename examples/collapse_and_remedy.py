"""
Networks that die at high learning rates, and the remedy
=========================================================

A hundred published networks at four rates make one stack of 400 networks, and one call. The higher
the rate, the more of those that learned the task are lost for good.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp

task = gp.tasks.DelayedActivation(delay=100)
models = gp.LowRankRNN.published().repeat(4)
rates = np.repeat([0.005, 0.01, 0.02, 0.05], 100)
plain = gp.train(models, task, rates, 6000)


def shares(run):
    """Of the networks at each rate: which share learned, and which share was lost again."""
    learned = (run.events.first_above_chance >= 0).groupby("learning_rate").mean()
    lost = (run.events.no_learning_zone_entry >= 0).groupby("learning_rate").mean()
    return learned, lost


# %%
# With the trust region on the escape time (``remedy="auto"``) the same rates lose none.

guarded = gp.train(models, task, rates, 6000, remedy="auto")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for panel, run, title in ((axes[0], plain, "plain"), (axes[1], guarded, 'remedy="auto"')):
    learned, lost = shares(run)
    panel.plot(learned.learning_rate, learned, "o-", label="learned")
    panel.plot(lost.learning_rate, lost, "s-", label="lost again")
    panel.set(xscale="log", xlabel="learning rate", title=title, ylim=(-0.05, 1.05))
    panel.set_xticks(learned.learning_rate, [f"{rate:g}" for rate in learned.learning_rate.values], minor=False)
    panel.minorticks_off()
axes[0].set_ylabel("share of networks")
axes[0].legend()

# %%
# What the two runs say about themselves.

print(plain)
print(guarded)
plt.show()
