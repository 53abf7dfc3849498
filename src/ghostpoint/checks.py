"""Argument checks with one wording: the argument's name, the value it had, what is valid.

The leaf of the import order: standard library and numpy only, no science.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    allow_inf: bool = False,
) -> float:
    """``value`` as a float, after checking ``value > above`` and ``at_least <= value <= at_most``.

    Raises
    ------
    ValueError
        If it is not a real number, is NaN, is infinite (unless ``allow_inf``), or is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {value!r}")
    result = float(value)
    wanted = []
    if above > -math.inf:
        wanted.append(f"above {above:g}")
    if at_least > -math.inf:
        wanted.append(f"at least {at_least:g}")
    if at_most < math.inf:
        wanted.append(f"at most {at_most:g}")
    elif not allow_inf:
        wanted.append("finite")
    bad = math.isnan(result) or (math.isinf(result) and not allow_inf)
    if bad or not (result > above or above == -math.inf) or not at_least <= result <= at_most:
        raise InputError(f"{name} must be {' and '.join(wanted) or 'a number'}, got {value!r}")
    return result


def integer(name: str, value: Any, *, at_least: int | None = None) -> int:
    """``value`` as an int; a float with a fraction, a bool or a number below ``at_least`` is a
    ``ValueError``.
    """
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if isinstance(value, bool) or not whole:
        raise InputError(f"{name} must be a whole number, got {value!r}")
    result = int(value)
    if at_least is not None and result < at_least:
        raise InputError(f"{name} must be at least {at_least}, got {value!r}")
    return result


def accuracy_at_chance(value: Any) -> float:
    """A ``chance_accuracy`` as a float, at least 0 and below 1."""
    found = number("chance_accuracy", value)
    if not 0 <= found < 1:
        percent = f"; is {found:g} in percent? Then give {found / 100:g}" if 1 < found < 100 else ""
        raise InputError(f"chance_accuracy must be at least 0 and below 1, got {found:g}{percent}")
    return found


def one_of(name: str, value: str, valid: Iterable[str]) -> str:
    """``value`` if it is one of ``valid``, else a ``ValueError`` that lists them."""
    choices = list(valid)
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value


def finite_array(name: str, value: Any, dtype: Any = np.float64, *, allow_bool: bool = False) -> NDArray[Any]:
    """``value`` as an array of ``dtype`` without NaN or infinity, else a ``ValueError`` that names
    the first one.

    Real numbers only: text that looks like a number is none, a complex number keeps no half, and
    truth values are numbers (0 and 1) with ``allow_bool`` alone. Whole numbers stay whole: 1.5 is
    refused for an integer ``dtype``.
    """
    wanted = np.dtype(dtype)
    try:
        given = np.asarray(value)
        if given.dtype.kind == "O" and all(isinstance(one, Real) and not isinstance(one, bool) for one in given.flat):
            given = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be an array of numbers, got {value!r}") from None
    if given.dtype.kind not in ("iufb" if allow_bool or wanted.kind == "b" else "iuf"):
        raise InputError(f"{name} must be an array of numbers, got {value!r}")
    if wanted.kind in "iu" and given.dtype.kind == "f":
        broken = given != np.rint(given)
        if broken.any():
            raise InputError(f"{name} must be whole numbers, got {given[broken].flat[0]:g}")
    with np.errstate(over="ignore"):
        array = given.astype(wanted, copy=False)
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(f"{name} must be finite, got {array[where]} at index {where}")
    return array


@contextmanager
def memory_for(name: str, value: Any) -> Iterator[None]:
    """Within it memory is asked for by the argument ``name``: a ``MemoryError`` says so, and how
    much it was.
    """
    try:
        yield
    except (MemoryError, OverflowError) as error:
        raise MemoryError(f"{name} = {value!r} asks for more memory than there is: {error}") from error
    except ValueError as error:  # what numpy says where the number of bytes itself overflows
        if isinstance(error, InputError) or not any(part in str(error) for part in ("too big", "Maximum allowed")):
            raise
        raise MemoryError(f"{name} = {value!r} asks for more memory than there is: {error}") from error


def shape(name: str, array: NDArray[Any], expected: tuple[int | str, ...]) -> NDArray[Any]:
    """``array`` if its shape matches ``expected``; a string in ``expected`` stands for any length,
    as in the message."""
    fits = array.ndim == len(expected) and all(
        isinstance(want, str) or want == got for want, got in zip(expected, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(part) for part in expected)
        raise InputError(f"{name} must have shape ({wanted}), got {array.shape}")
    return array
