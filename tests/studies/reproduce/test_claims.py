"""Figures over seeds, and what is said of the paper's claims."""

import math

import pytest
from scipy import stats

from nestevo_hw.pages.formats import DASH
from nestevo_hw.studies.reproduce.item import Claim, Item, Row
from nestevo_hw.studies.reproduce.page import page_text
from nestevo_hw.studies.reproduce.results import Found, Reproduction
from nestevo_hw.studies.reproduce.wording import caution, conclusion, figures_table, item_lines

ROWS = (
    Row(name="a", key="e/a", paper=0.5),
    Row(name="change", key="e/a", over="e/b", unit="share", paper=-0.3),
    Row(name="not run", key="e/none"),
)
CLAIM = Claim(text="a is above b", more="e/a", less="e/b")


def found(values, claims=(CLAIM,), doubts=()):
    item = Item(
        name="table-9",
        title="<b>x</b> & y",
        says="s",
        how="h",
        origin="measured",
        rows=ROWS,
        claims=claims,
        doubts=doubts,
    )
    return Found(item=item, values=values)


def verdict(a, b, **changes):
    claim = Claim(text="a is above b", more="e/a", less="e/b", **changes)
    return found({"e/a": a, "e/b": b}, (claim,)).judged[0]


def test_figures_have_students_interval_over_seeds_and_missing_ones_are_named():
    one = found({"e/a": [0.4, 0.5, 0.7], "e/b": [0.8, 0.9, 1.0]})
    rows = {row.name: estimate for row, estimate in one.rows}
    t = stats.ttest_1samp([0.4, 0.5, 0.7], 0).confidence_interval(0.95)
    assert rows["a"].ci95 == pytest.approx((t.low, t.high))
    assert rows["change"].mean == pytest.approx(1.6 / 2.7 - 1)
    assert one.left_out == ["not run"]
    assert "not run, or not defined here: not run" in item_lines(one)
    assert one.document()["figures"][0]["by_seed"] == [0.4, 0.5, 0.7]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], "agrees"),
        ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7], "contradicts"),
        ([0.1, 0.9, 0.3], [0.5, 0.2, 0.3], "open"),
        ([0.5], [0.4], "agrees"),
        ([0.4], [0.5], "contradicts"),
        ([0.4], [0.4], "open"),
        ([math.nan], [0.4], "not measured"),
    ],
)
def test_a_claim_is_judged_by_the_interval_or_by_the_sign_of_a_single_value(a, b, expected):
    judged = verdict(a, b)
    assert judged.verdict == expected
    assert judged.alone == (len(a) == 1 and expected != "not measured")


def test_a_claim_that_something_costs_nothing_has_a_margin():
    assert verdict([0.39], [0.40]).verdict == "contradicts"
    assert verdict([0.39], [0.40], margin=0.02).verdict == "agrees"
    assert verdict([0.37], [0.40], margin=0.02).verdict == "contradicts"


def test_a_claim_without_its_values_is_not_measured():
    assert found({"e/a": [0.4]}).judged[0].verdict == "not measured"
    assert found({}).rows == []


def test_what_contradicts_is_what_is_not_so_here_and_what_the_paper_has_wrong():
    one = found({"e/a": [0.1], "e/b": [0.2]}, doubts=("its own cells give another mean",))
    assert one.against == ["not so here: a is above b (one value)", "its own cells give another mean"]


def test_the_conclusion_counts_and_one_seed_is_warned_of():
    each = (found({"e/a": [0.5], "e/b": [0.4]}), found({"e/a": [0.3], "e/b": [0.4]}))
    whole = Reproduction(found=each, seeds=(0,), quick=True, device="cpu")
    assert conclusion(whole) == "Claims of the paper, 2 in 2 items: 1 hold here, 1 do not."
    assert caution(whole).startswith("A quick impression: one seed, so no figure has an interval")
    assert whole.document()["claims"] == {"agrees": 1, "contradicts": 1, "open": 0, "not measured": 0}


def test_the_table_puts_ours_beside_the_papers_with_a_label():
    table = figures_table(found({"e/a": [0.4, 0.5], "e/b": [0.8, 0.9]}))
    assert table.heads == ("figure", "ours", "95 % interval", "paper", "ours are")
    assert [(row[0], row[1], row[3], row[4]) for row in table.rows] == [
        ("a", "0.450", "0.500", "measured"), ("change", "-47.1 %", "-30.0 %", "measured"),
    ]  # fmt: skip


def test_the_papers_own_figure_is_not_shown_as_ours_and_a_difference_has_its_unit():
    rows = (
        Row(name="chip", key="chip/a", unit="s"),
        Row(name="GPU", key="chip/b", unit="s", paper=143.7, borrowed=True),
    )
    claim = Claim(text="the chip is faster", more="chip/b", less="chip/a")
    item = Item(name="table-9", title="t", says="s", how="h", origin="modelled", rows=rows, claims=(claim,))
    one = Found(item=item, values={"chip/a": [23.1], "chip/b": [143.7]})
    assert [tuple(row) for row in figures_table(one).rows] == [
        ("chip", "23.1 s", DASH, DASH, "modelled"), ("GPU", DASH, DASH, "144 s", DASH),
    ]  # fmt: skip
    assert "the chip is faster: agrees, computed (+121 s)" in item_lines(one)
    assert one.document()["figures"][1]["mean"] is None
    assert one.left_out == []


def test_nothing_is_said_of_seeds_where_nothing_is_drawn():
    item = Item(name="table-9", title="t", says="s", how="h", origin="modelled", rows=(Row(name="a", key="chip/a"),))
    whole = Reproduction(found=(Found(item=item, values={"chip/a": [0.5]}),), seeds=(0,), quick=True, device="cpu")
    assert caution(whole) == ""
    assert "nothing here is drawn" in page_text(whole)
    assert "draws its own" not in page_text(whole)
