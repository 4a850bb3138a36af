"""What splits the gap to true labels: one thing changed each, camera by camera."""

import pytest
from made_up_runs import AFTER, comparison

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.document import document_of
from nestevo_hw.studies.compare.gap import CAUSES, gap_table, splits_gap
from nestevo_hw.studies.compare.page import page_text
from nestevo_hw.studies.compare.results import of_terminal
from nestevo_hw.studies.compare.study import plan_study
from nestevo_hw.studies.compare.variants import GAP, choose

NAMES = [variant.name for variant in GAP]


def test_each_part_changes_one_thing_against_terminals_only():
    base = load_preset("quick")
    alone = override(base, {"method": "terminals-only"})
    found = {variant.name: variant.config(base, 0) for variant in GAP}
    assert found["twice-the-steps"].mutual.plan.steps == 80
    assert found["twice-the-frames"].uploads("village") == 2 * base.uploads("village")
    assert {t.model for t in found["unpruned"].terminals} == {base.teacher.model}
    for name in ("twice-the-frames", "twice-the-steps", "unpruned"):
        changed = [key for key, value in found[name].document().items() if value != alone.document()[key]]
        assert changed == (["mutual", "distil"] if name == "twice-the-steps" else ["terminals"])
    assert [found[name].method for name in NAMES[:2]] == NAMES[:2]


def test_everything_that_it_is_compared_with_runs_too():
    plan = plan_study(load_preset("quick"), choose(["NestEvo"], ablations=False, gap=True), 1)
    assert set(plan.configs) == {(name, 0) for name in ("NestEvo", "terminals-only", "true-labels", *NAMES)}
    assert set(CAUSES) == {"NestEvo", "true-labels", *NAMES}


def test_labels_of_classes_have_nothing_to_complete():
    with pytest.raises(ConfigError, match="labels-completed: needs a task that finds boxes, and classification does"):
        check_run(override(load_preset("digits"), {"method": "labels-completed"}))


def test_the_table_has_every_camera_and_is_paired_by_seed(tmp_path, monkeypatch):
    monkeypatch.setitem(AFTER, "labels-completed", 0.64)
    names = ["terminals-only", "labels-completed", "true-labels"]
    found = comparison(tmp_path, names, 3)
    assert splits_gap(found)
    table = gap_table(found)
    assert table.heads == ("change", "campus", "village", "downtown", "all cameras")
    assert [row[0] for row in table.rows] == ["as it is", CAUSES["labels-completed"], CAUSES["true-labels"]]
    expected = measures.difference(found, "labels-completed", "terminals-only", of_terminal(found, "village"))
    assert table.rows[1][2] == f"{expected.mean:+.3f} ±{expected.half:.3f}"
    assert document_of(found)["gap"]["labels-completed"]["village"] == expected.document()
    assert "Where the gap is" in page_text(found)
    assert document_of(comparison(tmp_path / "other", ["A4", "NestEvo"], 1))["gap"] is None
