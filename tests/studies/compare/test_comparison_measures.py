"""Figures of a comparison against hand-computed ones, and the goals that follow from them."""

import json
import math
from dataclasses import replace

import pytest
from made_up_runs import AFTER, comparison

from nestevo_hw.base.stats import Estimate
from nestevo_hw.report.summary import Evolution
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.document import document_of
from nestevo_hw.studies.compare.goals import Goal, goals
from nestevo_hw.studies.compare.results import active_kinds, read_comparison

ONE = {
    "terminals": [
        {"name": "a", "model": "m1", "place": "a", "drift": [{"window": 0, "kind": "fog", "strength": 0.5}]},
        {"name": "b", "model": "m2", "place": "b", "drift": [{"window": 0, "kind": "night", "strength": 0.5}]},
    ],
    "window": {"count": 1},
    "teacher": {"analog": "pcm"},
}


def _value(table):
    """Accuracy by method, seed and terminal."""
    return lambda name, seed, terminal, _: table[name][seed][terminal]


TWO_SEEDS = {
    "NestEvo": [{"a": (0.4, 0.7), "b": (0.2, 0.5)}, {"a": (0.4, 0.6), "b": (0.2, 0.6)}],
    "A3": [{"a": (0.4, None), "b": (0.2, None)}, {"a": (0.4, None), "b": (0.2, None)}],
    "A4": [{"a": (0.4, 0.5), "b": (0.2, 0.4)}, {"a": (0.4, 0.6), "b": (0.2, 0.5)}],
    "true-labels": [{"a": (0.4, 0.8), "b": (0.2, 0.7)}, {"a": (0.4, 0.7), "b": (0.2, 0.7)}],
}


@pytest.fixture
def found(tmp_path):
    return comparison(tmp_path, list(TWO_SEEDS), seeds=2, config=ONE, value=_value(TWO_SEEDS))


def test_the_life_cycle_is_over_all_terminals_whichever_of_them_evolved(tmp_path):
    table = {"NestEvo": [{"a": (0.4, 0.7), "b": (0.2, None)}], "A3": [{"a": (0.4, None), "b": (0.2, None)}]}
    found = comparison(tmp_path, list(table), seeds=1, config=ONE, value=_value(table))
    assert found.outcomes["NestEvo", 0].lcp == pytest.approx((0.1 * 0.4 + 0.9 * 0.7 + 0.2) / 2)
    assert found.outcomes["A3", 0].lcp == pytest.approx(0.3)


def test_figures_of_two_seeds_by_hand(found):
    assert measures.after_by_seed(found, "NestEvo") == pytest.approx([0.6, 0.6])
    assert measures.after(found, "A4").mean == pytest.approx(0.5)
    assert measures.after(found, "A4").half == pytest.approx(12.7062 * 0.05)
    assert measures.gain(found, "NestEvo").mean == pytest.approx(0.6 / 0.3 - 1)
    assert measures.gain(found, "A3").mean == pytest.approx(0.0)
    assert measures.gain_over(found, "A4", "A3").mean == pytest.approx(0.5 / 0.3 - 1)
    assert measures.after_second(found, "A4").mean == pytest.approx(0.25)
    assert measures.difference_by_seed(found, "NestEvo", "A4") == pytest.approx([0.15, 0.05])
    # (0.10) / (0.725 - 0.5)
    assert measures.gap_closed(found, "NestEvo").mean == pytest.approx(0.1 / 0.225)
    assert measures.gap_closed(found, "A4") == Estimate(mean=0.0)
    assert measures.gap_closed(found, "true-labels") == Estimate(mean=1.0)
    assert measures.lead(found, "NestEvo", "A4").mean == pytest.approx(1.0 - 2 / 3)
    assert not measures.lead(found, "NestEvo", "A1").known


def test_forgetting_and_models_that_were_not_deployed_by_hand(tmp_path):
    found = comparison(tmp_path, list(TWO_SEEDS), seeds=2, config=ONE, value=_value(TWO_SEEDS))
    assert math.isnan(measures.backward_transfer(found, "NestEvo").mean)
    assert measures.kept(found, "NestEvo") == 0
    recalls = {"a": 0.4, "b": 0.65}
    for seed in (0, 1):
        select = {"event": "select", "window": 0, "terminal": "a", "chosen": ("evolved", "old")[seed]}
        events = [{"event": "recall", "window": 0, "terminal": t, "scores": {0: now}} for t, now in recalls.items()]
        with (tmp_path / f"NestEvo-{seed}" / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(e) + "\n" for e in [select, *events]))
    folders = {(name, seed): tmp_path / f"{name}-{seed}" for name in TWO_SEEDS for seed in (0, 1)}
    found = read_comparison(folders, found.variants, {})
    # ((0.4 - 0.7) + (0.65 - 0.5)) / 2 and ((0.4 - 0.6) + (0.65 - 0.6)) / 2
    assert found.by_seed("NestEvo", lambda run: run.backward_transfer) == pytest.approx([-0.075, -0.075])
    assert measures.kept(found, "NestEvo") == 1
    document = next(m for m in document_of(found)["methods"] if m["name"] == "NestEvo")
    assert (document["backward_transfer"], document["not_deployed"]) == (pytest.approx(-0.075), 1)


def test_each_kind_of_drift_counts_its_own_cells(found):
    assert found.kinds == {"fog": (("a", 0),), "night": (("b", 0),)}
    fog = found.kinds["fog"]
    assert measures.after(found, "NestEvo", fog).mean == pytest.approx(0.65)
    assert measures.gap_closed(found, "NestEvo", fog).mean == pytest.approx(0.1 / 0.2)
    assert measures.difference(found, "NestEvo", "A4", found.kinds["night"]).mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        ([], [(), (), ()]),
        ([("night", 0, 0.6)], [("night",)] * 3),
        ([("night", 1, 0.6), ("night", 2, 0.0)], [(), ("night",), ()]),
        ([("rain", 1, 0.3), ("night", 0, 0.6)], [("night",), ("night", "rain"), ("night", "rain")]),
        ([("fog", 2, 0.0), ("fog", 0, 0.2), ("fog", 1, 0.9)], [("fog",), ("fog",), ()]),
        ([("fog", -1, 0.2)], [("fog",)] * 3),
    ],
)
def test_a_step_holds_until_a_later_one_of_its_kind(script, kinds):
    steps = [{"kind": kind, "window": window, "strength": strength} for kind, window, strength in script]
    assert [active_kinds(steps, window) for window in range(3)] == kinds


def test_active_kinds_are_those_of_the_streams():
    """The streams' own drift script is the oracle."""
    steps = [("night", 0, 0.6), ("night", 2, 0.0), ("rain", 1, 0.4), ("fog", 3, 0.2), ("rain", 3, 0.9)]
    script = DriftScript(segments=tuple(DriftSegment(start=100 * w, kind=k, strength=s) for k, w, s in steps))
    documents = [{"kind": k, "window": w, "strength": s} for k, w, s in steps]
    for window in range(5):
        assert set(active_kinds(documents, window)) == set(script.strengths(100 * window + 50))


def test_a_scene_without_objects_is_left_out_of_every_method(tmp_path):
    def value(name, _seed, terminal, _window):
        return (None, None) if terminal == "b" else (0.4, None if name == "A3" else 0.5)

    found = comparison(tmp_path, ["NestEvo", "A3"], seeds=1, config=ONE, value=value)
    assert measures.after(found, "NestEvo").mean == pytest.approx(0.5)
    assert measures.after(found, "A3").mean == pytest.approx(0.4)
    assert not measures.after(found, "NestEvo", found.kinds["night"]).known
    json.dumps(document_of(found), allow_nan=False)


def test_what_a_method_has_no_score_of_counts_for_none_it_is_compared_with(tmp_path):
    """Equal wherever both are scored, and one lacks the harder terminal: they differ by nothing."""
    easy, hard = (0.4, 0.9), (0.1, 0.3)
    table = {
        "NestEvo": [{"a": easy, "b": (None, None)}, {"a": easy, "b": hard}],
        "A3": [{"a": (0.4, None), "b": (0.1, None)}] * 2,
        "A4": [{"a": easy, "b": hard}] * 2,
        "true-labels": [{"a": (0.4, 1.0), "b": (0.1, 0.3)}, {"a": (0.4, 1.0), "b": (0.1, 0.5)}],
    }
    found = comparison(tmp_path, list(table), seeds=2, config=ONE, value=_value(table))
    assert measures.difference_by_seed(found, "NestEvo", "A4") == [0.0, 0.0]
    assert measures.lead(found, "NestEvo", "A4").mean == 0.0
    assert measures.gap_closed(found, "NestEvo").mean == 0.0
    # Over a alone with one seed, over both with the other.
    assert measures.gain_over(found, "NestEvo", "A3").mean == pytest.approx((0.9 + 0.6) / (0.4 + 0.25) - 1)
    assert measures.after_by_seed(found, "NestEvo") == pytest.approx([0.9, 0.6])
    assert measures.after_by_seed(found, "A4") == pytest.approx([0.6, 0.6])
    # The room above A4 is that of a with one seed, and of both with the other.
    assert measures.gap_closed(found, "true-labels").mean == 1.0


def test_before_and_after_are_of_the_same_terminals(tmp_path):
    table = {"NestEvo": [{"a": (0.4, 0.8), "b": (None, 0.2)}]}
    found = comparison(tmp_path, list(table), seeds=1, config=ONE, value=_value(table))
    assert measures.gain(found, "NestEvo").mean == pytest.approx(1.0)


def test_the_teacher_is_compared_over_the_seeds_in_which_it_evolved(tmp_path):
    found = comparison(tmp_path, ["NestEvo", "A4"], seeds=3)
    # Window 0 only: 0.60, 0.61, 0.62 to 0.72, 0.73, 0.74.
    assert measures.teacher_before(found, "NestEvo").mean == pytest.approx(0.61)
    assert measures.teacher_gain(found, "NestEvo").mean == pytest.approx(0.73 / 0.61 - 1)
    assert not measures.teacher_after(found, "A4").known
    assert measures.teacher_before(found, "A4").mean == pytest.approx(0.61)


def test_a_teacher_is_measured_against_one_that_has_the_scenes_statistics_too(tmp_path):
    """Before it evolves it has those of its training data, which alone made a gain of 45 % of nothing."""
    teachers = {"NestEvo": (0.6, 0.7, 0.8), "A4-confirmed": (0.5, 0.6, 0.7)}
    found = comparison(tmp_path, list(teachers), seeds=3, config=ONE, value=lambda *_: (0.4, 0.5))
    for name, levels in teachers.items():
        for seed, level in enumerate(levels):
            found.outcomes[name, seed] = replace(found.outcomes[name, seed], teacher=(teacher(0, 0.3, level),))
    aim = _goals(found)["relative gain of the teacher over the unchanged one"]
    assert aim.estimate.mean == pytest.approx(0.7 / 0.6 - 1)
    assert aim.state == "reached"
    alone = _goals(comparison(tmp_path / "alone", ["NestEvo"], seeds=3))
    assert alone["relative gain of the teacher over the unchanged one"].why == "needs runs of A4-confirmed"


def test_teachers_are_compared_after_windows_that_both_have(tmp_path):
    found = comparison(tmp_path, ["NestEvo", "A4-confirmed"], seeds=1, config=ONE, value=lambda *_: (0.4, 0.5))
    teachers = {
        "NestEvo": (teacher(0, 0.3, math.nan), teacher(1, 0.3, 0.6)),
        "A4-confirmed": (teacher(0, 0.3, 0.3), teacher(1, 0.3, 0.6)),
    }
    for name, levels in teachers.items():
        found.outcomes[name, 0] = replace(found.outcomes[name, 0], teacher=levels)
    assert measures.teacher_gain_over(found, "NestEvo", "A4-confirmed").mean == pytest.approx(0.0)


def test_what_the_crossbar_costs_the_teacher_is_told_before_either_has_evolved(tmp_path):
    found = comparison(tmp_path, ["NestEvo", "digital-teacher"], seeds=1, config=ONE, value=lambda *_: (0.4, 0.5))
    teachers = {
        "NestEvo": (teacher(0, 0.3, math.nan), teacher(1, 0.2, 0.7), teacher(2, 0.7, 0.8)),
        "digital-teacher": (teacher(0, 0.4, math.nan), teacher(1, 0.3, math.nan), teacher(2, 0.3, 0.8)),
    }
    for name, levels in teachers.items():
        found.outcomes[name, 0] = replace(found.outcomes[name, 0], teacher=levels)
    assert measures.analog_teacher_loss(found).mean == pytest.approx(0.1)


def teacher(window, before, after):
    return Evolution(window=window, before=before, adapted=math.nan, after=after, onnx=math.nan)


def _goals(found):
    return {goal.name: goal for goal in goals(found)}


def test_goals_of_two_seeds(found):
    aims = _goals(found)
    assert aims["gap closed"].state == "missed"
    assert aims["gap closed under night"].state == "missed"
    assert aims["relative gain of the terminals"].state == "reached"
    assert aims["relative gain above that of A4"].state == "reached"
    assert aims["relative gain above that of A1"].state == "not measured"
    assert aims["relative gain above that of A1"].why == "needs runs of A1"
    assert aims["accuracy lost by the analog teacher"].why == "needs runs of digital-teacher"
    assert aims["not worse than A4 under night"].state == "reached"
    assert aims["gap closed"].certain is None  # true labels and A4 are not told apart by two seeds


def test_no_room_between_a4_and_true_labels_is_said(tmp_path):
    table = {**TWO_SEEDS, "true-labels": TWO_SEEDS["A4"]}
    found = comparison(tmp_path, list(table), seeds=2, config=ONE, value=_value(table))
    aim = _goals(found)["gap closed"]
    assert (aim.state, aim.estimate.value) == ("not measured", None)
    assert "no room to fill" in aim.why


@pytest.mark.parametrize(
    ("mean", "ci95", "options", "state", "certain"),
    [
        (0.5, (0.4, 0.6), {}, "reached", False),
        (0.49, (0.48, 0.499), {}, "missed", True),
        (0.6, (0.55, 0.7), {}, "reached", True),
        (0.6, (0.55, 0.7), {"at_most": True}, "missed", True),
        (0.4, None, {"at_most": True}, "reached", None),
        (0.4, (0.3, 0.52), {"within_interval": True}, "reached", False),
        (0.4, (0.3, 0.48), {"within_interval": True}, "missed", True),
        (0.6, None, {"within_interval": True}, "not measured", None),
        (math.nan, None, {}, "not measured", None),
    ],
)
def test_states_of_a_goal(mean, ci95, options, state, certain):
    goal = Goal(name="a", target=0.5, estimate=Estimate(mean=mean, ci95=ci95), **options)
    assert (goal.state, goal.certain) == (state, certain)


def test_the_document_has_the_keys_that_scripts_read(tmp_path):
    found = comparison(tmp_path, left_out={"with-compression": "refused: why"})
    document = document_of(found)
    json.dumps(document, allow_nan=False)
    assert document["seeds"] == [0, 1, 2, 3, 4]
    assert [m["name"] for m in document["methods"]] == [name for name in found.names if name in AFTER]
    for method in document["methods"]:
        assert {"name", "terminals", "gain_relative", "gap_closed", "teacher", "delay_s", "lcp"} <= set(method)
        assert {"before", "after", "ci95"} == set(method["terminals"])
        assert {"before", "after"} <= set(method["teacher"])
        assert set(method["by_terminal"]) == {"campus", "village", "downtown"}
    assert set(document["by_drift"]) == {"night", "fog", "rain", "none"}
    for kind in document["by_drift"].values():
        assert {"before", "after", "ci95", "gap_closed", "minus_a4"} <= set(kind["NestEvo"])
    assert document["by_drift"]["night"]["cells"] == [["campus", 0], ["downtown", 1]]
    paired = document["paired"]["NestEvo"]["minus_a4"]
    assert paired["mean"] == pytest.approx(sum(paired["by_seed"]) / 5)
    assert document["left_out"] == {"with-compression": "refused: why"}
    assert document["paper"]["NestEvo"]["mean"] == pytest.approx(0.566)
    assert {g["state"] for g in document["goals"]} <= {"reached", "missed", "not measured"}


def test_the_gain_of_the_document_is_that_of_its_means(tmp_path):
    for method in document_of(comparison(tmp_path))["methods"]:
        terminals = method["terminals"]
        assert method["gain_relative"] == pytest.approx(terminals["after"] / terminals["before"] - 1)
