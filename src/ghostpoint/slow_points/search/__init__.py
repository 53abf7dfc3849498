"""Slow points of any network, by descent from many starts."""
