"""Files of a benchmark and of a comparison: complete, well-formed, and nothing from outside."""

import csv
import io
import json
from pathlib import Path

import pytest
from handmade import PAIRED, SWEPT, TAUGHT, benchmark, line, only
from web_pages import read_page

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.pages.formats import DASH
from nestevo_hw.studies.noise.comparison import compare_benchmarks
from nestevo_hw.studies.noise.comparison_page import write_comparison
from nestevo_hw.studies.noise.output import document_of, scores_table, write_benchmark
from nestevo_hw.studies.noise.results import Benchmark, read_benchmark


def _page(path: Path) -> str:
    return read_page(path).text


FULL = benchmark(SWEPT, PAIRED, TAUGHT)


def test_a_benchmark_survives_its_files(tmp_path: Path) -> None:
    names = write_benchmark(FULL, tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    read = read_benchmark(tmp_path)
    assert (read.points, read.digital, read.unswept, read.students) == (
        FULL.points, FULL.digital, FULL.unswept, FULL.students,
    )  # fmt: skip
    assert document_of(read) == json.loads((tmp_path / "results.json").read_text())
    assert read_benchmark(tmp_path / "results.json") == read


def test_the_page_says_what_is_simulated_and_what_was_found(tmp_path: Path) -> None:
    write_benchmark(FULL, tmp_path)
    text = _page(tmp_path / "report.html")
    for expected in (
        "net on a pcm crossbar", "By day the digital model scores 0.900", "nobody & nowhere", "10 frames <of nothing>",
        "ir_drop: no model", "helps at 0.1", "a lesson", "another ADC", "0.340",
    ):  # fmt: skip
        assert expected in text
    assert (tmp_path / "report.html").read_text().count("<svg") == 5 + 2 + 3


@pytest.mark.parametrize("parts", [(SWEPT,), (only(), TAUGHT), (only("mu"),), (only("analog"),)])
def test_a_page_without_some_sections_is_well_formed(tmp_path: Path, parts: tuple) -> None:
    write_benchmark(benchmark(*parts), tmp_path)
    assert "All figures" in _page(tmp_path / "report.html")
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == ({"students.png"} if TAUGHT in parts else {"results.png"})


def test_weight_noise_alone_claims_no_device(tmp_path: Path) -> None:
    about = {"metric": "top1_agreement", "metrics": ["map50"], "model": "<net>"}
    found = benchmark(only("mu"), **about)
    write_benchmark(found, tmp_path)
    text = _page(tmp_path / "report.html")
    assert "<net> under weight noise" in text
    assert "agreement with the digital model (first class)" in text
    for words in ("pcm", "crossbar", "nobody & nowhere", "256 x 256"):
        assert words not in text, words
    assert "weight noise: agreement with the digital model (first class) (simulated)" in scores_table(found).title
    assert "pcm: mAP@0.50 (simulated)" in scores_table(FULL).title


def _two(tmp_path: Path, second: Benchmark) -> list[Path]:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, one in zip(folders, (benchmark(SWEPT, TAUGHT), second), strict=True):
        write_json(folder / "results.json", document_of(one))
    return folders


def test_benchmarks_stand_side_by_side(tmp_path: Path) -> None:
    other = benchmark([c for c in only("adc_bits") if c[0].value != 6.0], analog="hermes")
    comparison = compare_benchmarks(_two(tmp_path, other))
    assert comparison.panels == [("adc_bits", "day"), ("adc_bits", "night")]
    names = write_comparison(comparison, tmp_path / "out")
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "comparison.csv").read_text())))
    assert [(row["value"], row["net on hermes: mean"]) for row in rows if row["variant"] == "day"] == [
        ("4", "0.34"), ("6", ""), ("7", "0.815"), ("8", "0.82"),
    ]  # fmt: skip
    assert "net on hermes" in _page(tmp_path / "out" / "comparison.html")
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert len(document["points"]) == 4 * 2 + 3 * 2
    assert {p["benchmark"] for p in document["points"]} == {"net on pcm", "net on hermes"}


def test_equal_models_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = _two(tmp_path, benchmark(SWEPT, TAUGHT))
    comparison = compare_benchmarks(folders)
    assert list(comparison.found) == [f"net on pcm ({folder})" for folder in folders]
    assert ("student_mu", "student") in comparison.panels
    with pytest.raises(ConfigError, match="named twice"):
        compare_benchmarks([folders[0], folders[0]])


def test_different_metrics_are_not_compared(tmp_path: Path) -> None:
    folders = _two(tmp_path, benchmark(SWEPT, metric="top1_agreement"))
    with pytest.raises(ConfigError, match=r"second is scored by top1_agreement but .*first by map50"):
        compare_benchmarks(folders)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"frames": 24}, "second is scored on 24 frames but .*first on 10 frames; .* run one of them again"),
        ({"data": "mine/photos"}, "second is scored on .*/mine/photos but .*first without --data; "),
    ],
)
def test_benchmarks_of_other_frames_are_not_compared(about: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_benchmarks(_two(tmp_path, benchmark(SWEPT, TAUGHT, **about)))


def test_what_benchmarks_differ_in_is_told(tmp_path: Path) -> None:
    same = compare_benchmarks(_two(tmp_path, benchmark(SWEPT, TAUGHT, analog="hermes")))
    assert same.document()["differences"] == {}
    other = compare_benchmarks(_two(tmp_path, benchmark(SWEPT, TAUGHT, analog="hermes", seed=1, age_s=3600.0)))
    assert other.document()["differences"]["seed"] == {"net on pcm": 0, "net on hermes": 1}
    write_comparison(other, tmp_path / "out")
    page = _page(tmp_path / "out" / "comparison.html")
    assert "not the same seed: 0 (net on pcm), 1 (net on hermes)" in page
    assert f"not the same age after programming: {DASH} (net on pcm), 1 h (net on hermes)" in page


def test_benchmarks_without_a_common_sweep_are_refused(tmp_path: Path) -> None:
    folders = _two(tmp_path, benchmark(only("tile"), line("tile", {64.0: [0.8, 0.82]})))
    with pytest.raises(ConfigError, match="no sweep in common"):
        compare_benchmarks(folders)
    with pytest.raises(ConfigError, match="two benchmarks or more, got 1"):
        compare_benchmarks(folders[:1])


def test_unreadable_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finish the benchmark first"):
        read_benchmark(tmp_path)
    for text, message in (
        ("{", " is not valid JSON: .* at column 2"),
        ('{"points": []}', ": digital: field required"),
        ('{"points": [1], "digital": [], "unswept": [], "students": []}', r": points\[0\]: expected an object"),
    ):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(InputError, match=rf"results\.json{message}.*; run bench-noise again"):
            read_benchmark(tmp_path)
