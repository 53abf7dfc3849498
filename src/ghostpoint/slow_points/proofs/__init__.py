"""Certificates: what proves that a point is a fixed point or a ghost."""
