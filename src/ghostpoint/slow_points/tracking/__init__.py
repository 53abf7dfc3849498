"""Slow points over a training: branches, folds, and what they say about the drop."""
