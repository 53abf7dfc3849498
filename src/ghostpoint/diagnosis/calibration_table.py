"""Coefficients of the signs of doubt."""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

COEFFICIENTS: dict[str, float] = {"any": 3.0}
