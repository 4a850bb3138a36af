"""Pages, plots and tables say what the record says: of digital and analog teachers, of detection and classification."""

import json
import re

import pytest
from fake_runs import METRICS, fake_run, kinds_of
from rich.console import Console
from web_pages import WebPage, read_page

from nestevo_hw.report.events import read_run
from nestevo_hw.report.page import page_text, write_report
from nestevo_hw.report.summary import summarise, summary_of
from nestevo_hw.report.tables import summary_table

SORTS = [("pcm", "detection"), ("digital", "detection"), ("hermes", "classification"), ("digital", "classification")]


@pytest.fixture(scope="module", params=SORTS, ids=[" ".join(sort) for sort in SORTS])
def told(request, tmp_path_factory):
    """Device, vision task, folder and page of a run with its report."""
    device, task = request.param
    folder = fake_run(
        tmp_path_factory.mktemp("run"), terminals=1, windows=2, pictures=False, analog=device, task=task, seed=1
    )
    return device, task, folder, read_page(write_report(folder))


def plot(folder, name):
    """Text of a picture beside the page."""
    return " ".join(re.findall(r">([^<>\n]+)</text>", (folder / "plots" / f"{name}.svg").read_text()))


def tile(page, name):
    """Text of the page from a tile's name on."""
    return page.text.split(name, 1)[1][:200]


def test_the_teacher_is_simulated_only_on_a_crossbar(told):
    device, _, _, page = told
    if device == "digital":
        assert "digital teacher" in page.text
        assert not {"simulated"} & set(page.labels)
        for word in ("simulated", "crossbar tiles", "pcm", "conductances", "Upkeep of the teacher"):
            assert word not in page.text.replace("no crossbar is simulated", ""), word
    else:
        assert f"teacher on a simulated {device} crossbar" in page.text
        assert tile(page, "Teacher, ").split()[1] == "simulated"
        assert "Upkeep of the teacher simulated" in page.text
    assert tile(page, "Terminals, ").split()[1] == "measured"


def test_each_part_of_the_delay_is_named_as_it_was_recorded(told):
    device, _, folder, page = told
    crossbar = "measured" if device == "digital" else "modelled"
    for shown in (page.text, plot(folder, "delay")):
        assert f"labelling ({crossbar})" in shown
        assert "communication (modelled)" in shown
        assert "training (measured)" in shown
        assert ("programming (" in shown) == (device != "digital")
    labelling = (
        "labelling, waiting and training measured" if device == "digital" else "labelling and programming modelled"
    )
    assert labelling in tile(page, "Evolution delay")
    assert "partly modelled" in tile(page, "Evolution delay")


def test_every_axis_and_tile_is_in_the_metric_of_the_run(told):
    device, task, folder, page = told
    metric = METRICS[task]
    other = next(m for m in METRICS.values() if m != metric)
    accuracy_plots = ["terminal-campus-a", "teacher", *([] if device == "digital" else ["upkeep"])]
    for name in accuracy_plots:
        assert metric in plot(folder, name)
        assert other not in plot(folder, name).split()
    assert f"Terminals, {metric}" in page.text
    assert ("mAP" in page.text) == (task == "detection")
    assert ("overlaps its object by half" in page.text) == (task == "detection")
    if task == "classification":
        assert not {"detector", "detections", "objects", "boxes"} & set(page.text.split())


def test_kinds_of_task_are_called_what_the_header_calls_them(told):
    device, _, folder, page = told
    for shown in (page.text, plot(folder, "tasks"), plot(folder, "predicted-time")):
        assert kinds_of(device)["label"]["wording"] in shown
    assert ("as long as simulating it does" in page.text) == (device != "digital")


def test_the_console_says_the_same(told):
    device, task, folder, _ = told
    console = Console(width=160, record=True)
    console.print(summary_table(summarise(read_run(folder))))
    text = console.export_text()
    assert METRICS[task] in text
    assert ("labelling and programming modelled" in text) == (device != "digital")


@pytest.fixture
def run_dir(tmp_path):
    """An analog run that the tests below change."""
    return fake_run(tmp_path / "run", terminals=2, windows=1, pictures=False)


def changed(run_dir, *, header=None, event=None):
    """The run with a header changed in place by `header` and each event replaced by `event(it)`, dropped if None."""
    document = json.loads((run_dir / "run.json").read_text())
    if header:
        header(document)
    (run_dir / "run.json").write_text(json.dumps(document))
    if event:
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
        kept = [e for e in (event(json.loads(line)) for line in lines) if e is not None]
        (run_dir / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in kept))
    run = read_run(run_dir)
    return WebPage(page_text(run, summary_of(run))).text


def test_origins_that_differ_between_terminals_or_are_missing(run_dir):
    def event(e):
        if e["event"] == "lifecycle":
            e["origins"] = {"labelling_s": "measured" if e["terminal"] == "campus-a" else "modelled"}
        return e

    text = changed(run_dir, event=event)
    assert "labelling (partly modelled)" in text
    assert "training (origin not recorded)" in text
    assert "communication, programming, waiting and training of unrecorded origin" in text


def test_a_run_whose_header_says_little_is_not_guessed_at(run_dir):
    def header(document):
        for key in ("kinds", "metric", "machine", "versions", "classes"):
            del document[key]
        document["config"] = {}

    text = changed(run_dir, header=header)
    assert "place of the teacher not recorded" in text
    for guess in ("mAP", "simulated pcm", "What happens in an evolution window", "labels frames"):
        assert guess not in text
    assert "score 0." in text


def test_a_run_on_a_cluster_does_not_claim_this_machine(run_dir):
    def header(document):
        document["config"]["execution"] = {"executor": "ray"}
        document["machine"]["device"] = "NVIDIA H100"

    text = changed(run_dir, header=header)
    assert "on a Ray cluster, driven from 4 cores" in text
    assert "NVIDIA H100" in text


def test_streams_without_labels_have_no_accuracy(run_dir):
    def event(e):
        if e["event"] == "accuracy":
            e["score"] = None
        if e["event"] == "lifecycle":
            e["lcp"] = None
        return e

    text = changed(run_dir, event=event)
    assert "2 terminals evolved, with nothing to score by" in text
    assert "accuracy is unknown" in text
    assert "nan" not in text.lower()


def test_a_method_without_drift_detection_shows_no_empty_chart(run_dir):
    text = changed(run_dir, event=lambda e: None if e["event"] in ("drift", "decision", "generator", "deploy") else e)
    for words in ("Lower chart", "drift threshold", "not drifted", "What each window decided", "validation gate keeps"):
        assert words not in text


def test_uploads_are_saved_only_where_terminals_ask_first(run_dir):
    def event(e):
        if e["event"] == "decision":
            return {"event": "sense", "window": 0, "terminal": "campus-a", "remains": 0.9, "requests": False}
        return e

    assert "1 of 1 uploads would be saved" in changed(run_dir, event=event)

    def header(document):
        document["config"]["trigger"] = {"mode": "request"}

    assert "1 of 1 uploads were saved" in changed(run_dir, header=header)


@pytest.mark.parametrize("stage", ["after", "nothing"])
def test_a_teacher_that_is_scored_with_other_statistics_than_before_is_said_to_be(run_dir, stage):
    path = run_dir / "metrics.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        if event["event"] == "accuracy" and event["model"] == "teacher":
            event["scene_norm"] = event["stage"] == stage
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    page = read_page(write_report(run_dir))
    assert ("part of the difference is these statistics" in page.text) == (stage == "after")
