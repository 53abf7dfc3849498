"""The argument checks: what they let through, and that a message names the argument, the value and
what is valid.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint import checks

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, st.none() | st.floats(-5, 5), st.none() | st.floats(-5, 5), st.booleans())
def test_a_number_is_let_through_exactly_when_it_is_in_range(value, above, at_least, allow_inf):
    limits = {name: x for name, x in (("above", above), ("at_least", at_least)) if x is not None}
    fine = not math.isnan(value) and (allow_inf or math.isfinite(value))
    fine = fine and (above is None or value > above) and (at_least is None or value >= at_least)
    if fine:
        assert checks.number("rate", value, allow_inf=allow_inf, **limits) == value
    else:
        with pytest.raises(ValueError, match=r"^rate must be .*, got ") as caught:
            checks.number("rate", value, allow_inf=allow_inf, **limits)
        assert repr(value) in str(caught.value)
        for words, limit in (("above", above), ("at least", at_least)):
            assert limit is None or f"{words} {limit:g}" in str(caught.value)


@pytest.mark.parametrize("value", [True, "3", None, 1j, [1.0], np.array([1.0])])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="rate must be a number, got"):
        checks.number("rate", value)


@pytest.mark.parametrize("value", [3, 3.0, np.int32(3), np.float32(3)])
def test_whole_numbers_of_any_type_are_ints(value):
    assert type(checks.integer("epochs", value, at_least=3)) is int


@pytest.mark.parametrize("value", [2.5, True, "3", None, math.nan, math.inf])
def test_what_is_not_whole_is_refused(value):
    with pytest.raises(ValueError, match="epochs must be a whole number, got"):
        checks.integer("epochs", value)


def test_a_whole_number_below_the_least_is_refused():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        checks.integer("epochs", 0, at_least=1)


def test_a_choice_lists_what_is_valid():
    assert checks.one_of("layout", "units", iter(("auto", "units"))) == "units"
    with pytest.raises(ValueError, match="layout must be one of auto, units; got 'unit'"):
        checks.one_of("layout", "unit", iter(("auto", "units")))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.data())
def test_the_first_number_that_is_not_finite_is_named(values, data):
    assert np.array_equal(checks.finite_array("m", values), values)
    where = data.draw(st.integers(0, len(values) - 1))
    values[where] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    with pytest.raises(ValueError, match=rf"m must be finite, got -?(nan|inf) at index \({where},\)"):
        checks.finite_array("m", values)


def test_an_array_of_text_or_of_ragged_rows_is_refused():
    for value in (["a"], [[1.0], [1.0, 2.0]], object()):
        with pytest.raises(ValueError, match="m must be an array of numbers, got"):
            checks.finite_array("m", value)


def test_shapes_fit_where_named_lengths_are_free():
    array = np.zeros((2, 3))
    assert checks.shape("m", array, ("R", 3)) is array
    for expected in (("R",), ("R", 4), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"m must have shape \(.*\), got \(2, 3\)"):
            checks.shape("m", array, expected)


@pytest.mark.parametrize("value", [True, "0.01", 1j, [True, False], np.array(["1", "2"]), np.array([1 + 2j]), [None]])
def test_what_only_looks_like_numbers_is_refused(value):
    with pytest.raises(ValueError, match="rate must be an array of numbers, got"):
        checks.finite_array("rate", value)


def test_truth_values_are_numbers_where_that_is_said():
    assert checks.finite_array("targets", [True, False], allow_bool=True).tolist() == [1, 0]
    assert checks.finite_array("complete", np.array([True]), np.bool_).tolist() == [True]


def test_whole_numbers_are_not_made_of_others():
    assert checks.finite_array("epochs", [1.0, 2.0], np.int64).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"epochs must be whole numbers, got 1\.5"):
        checks.finite_array("epochs", [1.0, 1.5], np.int64)


@pytest.mark.parametrize("shape", [(2**50,), (2**40, 2**40)])
def test_a_lack_of_memory_names_the_argument_and_the_size(shape):
    wanted = r"epochs = 7 asks for more memory than there is: .*(PiB|too big|Maximum)"
    with pytest.raises(MemoryError, match=wanted), checks.memory_for("epochs", 7):
        np.empty(shape)


def test_other_errors_are_not_about_memory():
    with pytest.raises(ValueError, match=r"^something else$"), checks.memory_for("epochs", 7):
        raise ValueError("something else")


def test_the_highest_value_is_part_of_the_range():
    assert checks.number("solved", 1, above=0, at_most=1) == 1
    with pytest.raises(ValueError, match=r"solved must be above 0 and at most 1, got 1\.5"):
        checks.number("solved", 1.5, above=0, at_most=1)
