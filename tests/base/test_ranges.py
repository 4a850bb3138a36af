"""A range knows its ends, refuses NaN, and holds the fields and arguments that carry it."""

import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from nestevo_hw.base.documents import parse
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    share: Annotated[float, Range(0, 0.5)] | None = None
    count: Annotated[int, Range(1, 9)] = 1


def test_ends_belong_to_it_unless_it_begins_above():
    closed, above = Range(0, 1), Range(0, 1, above=True)
    assert [value in closed for value in (-1e-9, 0, 0.5, 1, 1 + 1e-9, math.nan, math.inf)] == [
        False, True, True, True, False, False, False,
    ]  # fmt: skip
    assert 0 not in above
    assert 1e-300 in above
    assert str(closed) == "from 0 to 1"
    assert str(above) == "above 0 and up to 1"


def test_a_refused_argument_is_named():
    with pytest.raises(ConfigError, match=r"^--age: need a number from 0 to 1, got nan$"):
        Range(0, 1).require(math.nan, "--age")
    with pytest.raises(ConfigError, match=r"got a number of more than 20 digits$"):
        Range(0, 1).require(10**5000, "--age")
    Range(0, 1).require(0.5, "--age")


def test_fields_in_range_are_read():
    assert parse({"share": 0.5, "count": 9}, Half, "x") == Half(share=0.5, count=9)
    assert parse({"share": None}, Half, "x") == Half()
    assert parse({"share": 0}, Half, "x").share == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 0.6, 10**400, "0.1", True, [0.1]])
def test_fields_out_of_range_are_refused(value):
    with pytest.raises(InputError, match=r"^x: share: input should be a (valid )?number") as caught:
        parse({"share": value}, Half, "x")
    assert len(str(caught.value)) < 200
