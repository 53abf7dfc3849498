"""Which slow points trajectories pass, in what order, and how long they stay at each."""
