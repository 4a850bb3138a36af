import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from nestevo_hw.base.stats import mean
from nestevo_hw.report.events import Header, Run, read_run
from nestevo_hw.report.records.teacher import Deploy, Program
from nestevo_hw.report.records.terminal import Accuracy, Lifecycle, Select
from nestevo_hw.report.summary import evolutions, part_origins, read_summary, relative_gain, summarise, summary_of
from nestevo_hw.report.tables import programmings_table, summary_table
from nestevo_hw.report.wording import headline, lede, origins_text


def score(window, model, stage, value, scene=None):
    return Accuracy(window=window, model=model, scene=scene or model, stage=stage, score=value)


def run_of(*events, status="complete", config=None):
    header = Header(format=2, status=status, method="NestEvo", config=config or {})
    return Run(directory=Path("run"), header=header, events=events)


def test_means_are_over_the_windows_in_which_a_model_evolved():
    run = run_of(
        score(0, "a", "before", 0.2), score(0, "a", "after", 0.4), score(0, "a", "onnx", 0.39),
        score(1, "a", "before", 0.9),
        score(2, "a", "before", 0.4), score(2, "a", "after", 0.8),
        Lifecycle(window=0, terminal="a", lcp=0.5, evolving_s=10.0, parts={"waiting_s": 4.0}),
        Lifecycle(window=2, terminal="a", lcp=0.7, evolving_s=30.0, parts={"waiting_s": 8.0}),
    )  # fmt: skip
    document = summarise(run)
    assert document["terminals"] == [
        {"name": "a", "pruning": None, "before": pytest.approx(0.3), "after": pytest.approx(0.6),
         "adapted": None, "onnx_off": pytest.approx(-0.01),
         "lcp": pytest.approx(0.6), "given": {}, "rolled_back": 0, "metrics": {}}
    ]  # fmt: skip
    assert document["gain"] == {
        "terminals_relative": pytest.approx(1.0), "terminals_over_adapted": None, "teacher_relative": None
    }  # fmt: skip
    assert document["delay_s"] == {"mean": 20.0, "parts": {"waiting_s": 6.0}, "origins": {"waiting_s": ""}}
    assert document["windows"] == 3


def test_what_is_simulated_otherwise_than_costed_is_told_once():
    cost = {"chip": "hermes", "time_s": 2.0, "energy_j": 0.5, "wear": 1e-6}
    written = [
        Program(window=w, generation=w, analog="pcm", differences=("tile: one.", "cells: two."), **cost) for w in (0, 1)
    ]
    run = run_of(*written)
    assert summarise(run)["programming"] == {
        "count": 2, "refreshes": 0, "time_s": 4.0, "energy_j": 1.0, "wear": 2e-6,
        "differences": ["tile: one.", "cells: two."],
    }  # fmt: skip
    assert programmings_table(run).note.endswith("modelled from figures of hermes. tile: one. cells: two.")


def test_the_gain_over_batch_norm_and_the_stricter_score_stand_beside_the_gain():
    def scored(stage, value):
        return Accuracy(
            window=0, model="a", scene="a", stage=stage, score=value, metrics={"map50": value, "map": value / 2}
        )

    run = run_of(scored("before", 0.2), scored("adapted", 0.5), scored("after", 0.4))
    run = replace(run, header=replace(run.header, metric="mAP@0.50", second_metric=("map", "mAP@0.50:0.95")))
    document = summarise(run)
    assert document["gain"]["terminals_over_adapted"] == pytest.approx(-0.2)
    assert document["terminals"][0]["metrics"] == {
        "map50": {"before": 0.2, "after": 0.4}, "map": {"before": 0.1, "after": 0.2}
    }  # fmt: skip
    summary = read_summary(document)
    assert not summary.terminals[0].improved  # as its interim model did better
    assert headline(run, summary).startswith("No terminal improved")
    for words in ("-20.0 % over BatchNorm adaptation alone, 0.500", "mAP@0.50:0.95: 0.100"):
        assert words in lede(run, summary)


def test_what_terminals_were_given_and_what_the_gate_decided_is_said():
    chosen = [Select(window=w, terminal="a", chosen=c) for w, c in enumerate(("evolved", "adapted", "adapted"))]
    gate = [Deploy(window=w, accepted=accepted) for w, accepted in enumerate((True, False, False))]
    document = summarise(run_of(score(0, "a", "before", 0.2), score(0, "a", "after", 0.4), *chosen, *gate))
    assert document["terminals"][0]["given"] == {"evolved": 1, "adapted": 2}
    assert document["new_teachers"] == {"accepted": 1, "rejected": 2}
    table = summary_table(document)
    assert table.rows[0][table.heads.index("given")] == "evolved 1, adapted 2"
    assert "1 of 3 new teachers deployed" in table.note


def test_a_model_that_equals_its_adapted_one_has_not_improved():
    same = run_of(score(0, "a", "before", 0.2), score(0, "a", "adapted", 0.4), score(0, "a", "after", 0.4))
    assert not summary_of(same).terminals[0].improved
    assert "if it also does better than with its BatchNorm adapted" in lede(same, summary_of(same))


def test_the_teacher_is_the_mean_over_scenes():
    run = run_of(
        score(0, "teacher", "before", 0.6, "a"), score(0, "teacher", "after", 0.7, "a"),
        score(0, "teacher", "before", 0.4, "b"), score(0, "teacher", "after", 0.6, "b"),
    )  # fmt: skip
    assert summarise(run)["teacher"] == {"before": pytest.approx(0.5), "after": pytest.approx(0.65)}
    assert summarise(run)["gain"]["teacher_relative"] == pytest.approx(0.3)
    assert [e.before for e in evolutions(run, "teacher", scene="b")] == [0.4]


def test_where_one_group_alone_has_a_new_teacher_its_scenes_count():
    """Against the mean over both scenes, 0.55, a teacher that became better would have lost."""
    run = run_of(
        score(0, "teacher", "before", 0.3, "a"), score(0, "teacher", "after", 0.33, "a"),
        score(0, "teacher", "before", 0.8, "b"),
    )  # fmt: skip
    assert summarise(run)["teacher"] == {"before": pytest.approx(0.3), "after": pytest.approx(0.33)}
    assert summarise(run)["gain"]["teacher_relative"] == pytest.approx(0.1)


def test_a_model_that_never_evolves_has_no_after():
    run = run_of(score(0, "a", "before", 0.2), score(1, "a", "before", 0.4))
    row = summarise(run)["terminals"][0]
    assert (row["before"], row["after"]) == (pytest.approx(0.3), None)
    assert headline(run, summary_of(run)) == "No terminal has evolved in this run"
    assert "0.300" in lede(run, summary_of(run))


def test_the_run_s_own_summary_goes_first(run_dir):
    path = run_dir / "run.json"
    own = {"terminals": [{"name": "x", "before": 0.1, "after": 0.2}]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "summary": own}))
    assert summarise(read_run(run_dir)) == own
    assert [(t.name, t.after) for t in read_summary(own).terminals] == [("x", 0.2)]


def test_a_mean_before_and_after_is_over_the_same_terminals():
    run = run_of(score(0, "a", "before", 0.4), score(0, "a", "after", 0.6), score(0, "b", "before", 0.9))
    together = summary_of(run).together
    assert (together.before, together.after, together.gain) == (0.4, 0.6, pytest.approx(0.5))
    assert summarise(run)["gain"]["terminals_relative"] == pytest.approx(0.5)


def test_what_adapting_alone_gives_is_over_the_windows_in_which_the_model_evolved():
    run = run_of(
        score(0, "a", "before", 0.4), score(0, "a", "adapted", 0.5), score(0, "a", "after", 0.6),
        score(1, "a", "before", 0.6), score(1, "a", "adapted", 0.9),
    )  # fmt: skip
    assert summary_of(run).together.adapted == pytest.approx(0.5)
    assert summarise(run)["gain"]["terminals_over_adapted"] == pytest.approx(0.2)


def test_frames_without_labels_leave_the_accuracy_unknown():
    run = run_of(score(0, "a", "before", math.nan), score(0, "a", "after", math.nan))
    assert "accuracy is unknown" in lede(run, summary_of(run))


def test_parts_of_the_delay_come_from_where_the_events_say():
    def life(terminal, **origins):
        parts = {"labelling_s": 2.0, "training_s": 3.0, "programming_s": 0.0, "waiting_s": 1.0}
        return Lifecycle(window=0, terminal=terminal, parts=parts, origins=origins)

    run = run_of(
        life("a", labelling_s="modelled", training_s="measured", programming_s="modelled"),
        life("b", labelling_s="measured", training_s="measured", programming_s="measured"),
    )
    origins = {"labelling_s": "partly modelled", "training_s": "measured", "waiting_s": ""}
    assert part_origins(run) == origins
    assert summarise(run)["delay_s"]["origins"] == origins
    assert origins_text(origins) == "training measured; labelling partly modelled; waiting of unrecorded origin"


@pytest.mark.parametrize(
    ("afters", "expected"),
    [
        ((0.6, 0.6), "All 2 terminals improved"),
        ((0.6, 0.4), "1 of 2 terminals improved, 1 got worse"),
        ((0.6, 0.5), "1 of 2 terminals improved, 1 did not"),
        ((0.5, 0.5), "No terminal improved"),
        ((0.5, 0.4), "No terminal improved, 1 got worse"),
        ((math.nan, math.nan), "2 terminals evolved, with nothing to score by"),
        ((0.6, math.nan), "1 of 2 terminals improved, 1 could not be scored"),
        ((0.6, None), "1 of 2 terminals improved, 1 did not evolve"),
        ((0.4, None), "No terminal improved, 1 got worse, 1 did not evolve"),
        ((None, None), "No terminal has evolved in this run"),
    ],
)
def test_the_headline_tells_what_did_not_improve(afters, expected):
    events = [score(0, n, "before", 0.5) for n in "ab"]
    events += [score(0, n, "after", v) for n, v in zip("ab", afters, strict=True) if v is not None]
    run = run_of(*events)
    assert headline(run, summary_of(run)) == expected


def test_means_and_gains_are_undefined_rather_than_wrong():
    assert math.isnan(mean([]))
    assert mean([1.0, math.nan, 3.0]) == 2.0
    assert relative_gain(0.0, 0.5) is None
    assert relative_gain(math.nan, 0.5) is None
    assert relative_gain(0.4, 0.5) == pytest.approx(0.25)
