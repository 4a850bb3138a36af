"""Points to CSV and JSON and back."""

import csv
import io
import json

import pytest

from nestevo_hw.base.documents import json_text
from nestevo_hw.studies.noise.points import SweepPoint, summary, write_csv


def test_one_score_has_no_interval() -> None:
    assert summary("map50", [0.5]) == {"mean": 0.5, "ci95": None, "repeats": 1, "scores": [0.5]}


POINT = SweepPoint(
    sweep="time_s", value=86_400.0, scene="night", training="noise-aware",
    scores={"map50": (0.5, 0.6, 0.7), "map": (0.2, 0.3, 0.4)},
)  # fmt: skip


def test_csv_has_one_row_a_point_and_metric() -> None:
    first, second = csv.DictReader(io.StringIO(write_csv([POINT])))
    assert (first["sweep"], first["value"], first["variant"], first["repeats"], first["metric"]) == (
        "time_s", "86400", "night noise-aware", "3", "map50",
    )  # fmt: skip
    assert float(first["mean"]) == pytest.approx(0.6)
    assert (float(first["ci95_low"]), float(first["ci95_high"])) == pytest.approx(POINT.ci95, rel=1e-4)
    assert (second["metric"], float(second["mean"])) == ("map", pytest.approx(0.3))


def test_a_point_in_the_report() -> None:
    document = json.loads(json_text(POINT.document()))
    assert (document["sweep"], document["value"], document["variant"]) == ("time_s", 86_400.0, "night noise-aware")
    assert document["metrics"]["map"]["scores"] == [0.2, 0.3, 0.4]
    assert document["unit"] == "s after programming"
    assert document["mean"] == pytest.approx(0.6)
    assert document["metrics"]["map"]["mean"] == pytest.approx(0.3)


@pytest.mark.parametrize("metric", ["top1", "top5", "top1_agreement", "map50", "r2_vs_digital"])
def test_no_interval_leaves_0_to_1(metric: str) -> None:
    for scores in ((0.99, 1.0, 0.9), (0.0, 0.05, 0.01)):
        point = SweepPoint(sweep="mu", value=0.1, scene="all", scores={metric: scores})
        assert 0.0 <= point.ci95[0] < point.mean < point.ci95[1] <= 1.0
        row = next(csv.DictReader(io.StringIO(write_csv([point]))))
        assert [float(row["ci95_low"]), float(row["ci95_high"])] == pytest.approx(point.ci95, rel=1e-4)
        assert point.document()["ci95"] == pytest.approx(point.ci95)
