"""
What phase is this training in? From a CSV log
===============================================

A diagnosis needs no network. It reads the record that your program has written anyway.
"""

# %%
# A log as many programs write it: a step, a loss, an accuracy. This one is of a network that
# learns and is lost, with every tenth epoch kept.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ghostpoint as gp
from ghostpoint.diagnosis import read_history

run = gp.train(gp.LowRankRNN.published(range(20)), gp.tasks.DelayedActivation(60), 0.06, 4000)
lost = int(np.flatnonzero(run.events["no_learning_zone_entry"] >= 0)[0])
log = Path(tempfile.mkdtemp()) / "metrics.csv"
table = run.history[["loss", "accuracy"]].isel(network=lost, epoch=slice(None, None, 10)).to_dataframe()
table[["loss", "accuracy"]].to_csv(log)
print(log.read_text()[:120])

# %%
# In a shell: ``ghostpoint diagnose metrics.csv --figure run.png``. In Python:

found = gp.diagnose(read_history(log))
print(found)

# %%
# The verdict has a confidence, its evidence and an advice; the phases have a beginning and an end.

found.plot()
plt.show()
