import math

import pytest

from nestevo_hw.pages import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.26, "1.3 s"), (85, "85 s"), (600, "10 min"), (605.4, "10 min 5 s"), (5400, "1.5 h"), (864000, "10 days")],
)
def test_durations_read_well(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    "write",
    [formats.score, formats.percent, formats.share, formats.signed, formats.small, formats.memory, formats.decibels,
     formats.duration],
)  # fmt: skip
@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, "text"])
def test_what_is_no_figure_is_a_dash(write, nothing):
    assert write(nothing) == formats.DASH


def test_figures_have_one_form_each():
    assert formats.score(0.12349) == "0.123"
    assert formats.percent(0.5) == "+50.0 %"
    assert formats.share(0.0825) == "8.2 %"
    assert formats.signed(-0.00004) == "-0.0000"
    assert formats.signed(0.1, 3) == "+0.100"
    assert formats.small(0.00123, "J") == "0.0012 J"
    assert formats.memory(2.4e9) == "2.4 GB"
    assert formats.prefixed(0.00123, "J") == "1.23 mJ"
    assert formats.prefixed(0.0, "J") == "0 J"


def test_pairs_and_intervals():
    assert formats.change(0.1, 0.2) == "0.100 \N{RIGHTWARDS ARROW} 0.200"
    assert formats.change(0.1, math.nan) == f"0.100 \N{RIGHTWARDS ARROW} {formats.DASH}"
    assert formats.change(None, None) == formats.DASH
    assert formats.interval((0.1, 0.25)) == "0.100 to 0.250"
    assert formats.interval((0.1, 0.25), in_percent=True) == "10 to 25 %"
    assert formats.interval(None) == formats.DASH
    assert formats.plus_minus("0.1", 0.02) == "0.1 ±0.020"
    assert formats.plus_minus("0.1", math.nan) == "0.1"
    assert formats.plus_minus(formats.DASH, 0.1) == formats.DASH


def test_words():
    assert [formats.counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert [formats.listed(words) for words in ([], ["a"], ["a", "b"], "abc")] == ["", "a", "a and b", "a, b and c"]


def test_metrics_are_named_and_explained_or_left_as_they_are():
    assert formats.metric_text("map50") == "mAP@0.50"
    assert "overlaps its object" in formats.metric_meaning("map50")
    assert "share of frames" in formats.metric_meaning("accuracy")
    assert (formats.metric_text("novelty"), formats.metric_meaning("novelty")) == ("novelty", "")
