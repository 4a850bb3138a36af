import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import fake_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.pages.style import DARK, LIGHT, colour_of
from nestevo_hw.report.events import Header, Run, TaskKind, read_run
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.work import TaskRun
from nestevo_hw.report.tables import prediction_table
from nestevo_hw.report.timing import (
    delay_parts,
    error_text,
    gantt,
    kind_marks,
    prediction_scatter,
    predictions,
    typical_factor,
)
from nestevo_hw.report.wording import memory_name


def run_of(*tasks):
    return Run(directory=Path("run"), header=Header(format=2, status="running", method="A4"), events=tasks)


def task(start, end, worker, kind="label", **fields):
    return TaskRun(window=0, name=kind, kind=kind, started_s=start, ended_s=end, worker=worker, **fields)


def test_every_task_is_one_bar_on_its_worker_s_row():
    figure = gantt(run_of(task(0, 2, 0), task(2, 5, 0, "distil"), task(1, 4, 3), task(1, math.nan, 3)), LIGHT)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worker 0", "worker 3"]
    spans = {
        (round(y.mean()), x.min(), x.max())
        for bars in axes.collections
        for path in bars.get_paths()
        for x, y in [path.vertices.T]
    }
    assert spans == {(0, 0.0, 2.0), (0, 2.0, 5.0), (1, 1.0, 4.0)}


def test_bars_of_the_delay_end_at_its_mean(tmp_path):
    run = read_run(fake_run(tmp_path, terminals=2, windows=1, pictures=False))
    lives = {e.terminal: e.evolving_s for e in run.events if type(e).__name__ == "Lifecycle"}
    axes = delay_parts(run, LIGHT).axes[0]
    ends = sorted({round(bar.get_x() + bar.get_width(), 6) for bar in axes.containers[-1]})
    assert ends == sorted(round(v, 6) for v in lives.values())


def test_only_tasks_with_both_values_are_compared():
    run = run_of(
        task(0, 2, 0, predicted_s=1.0, predicted_bytes=3e6, peak_bytes=2e6),
        task(0, 4, 0, predicted_s=5.0, peak_bytes=2e6),
        task(0, 4, 0),
        task(0, 40, 0, predicted_s=3.0, predicted_bytes=7e8, peak_bytes=2e6, guessed=True),
    )
    assert predictions(run, memory=False) == [("label", 1.0, 2.0), ("label", 5.0, 4.0)]
    assert predictions(run, memory=True) == [("label", 3.0, 2.0)]
    factor = math.exp(math.sqrt((math.log(2.0) ** 2 + math.log(0.8) ** 2) / 2))
    assert typical_factor(predictions(run, memory=False)) == pytest.approx(factor)
    assert error_text(run, memory=False) == (
        f"Off by a factor of {factor:.2f}, typically, over 2 tasks. Left out: 1 first guess, of kinds of task that "
        "nothing was known of yet."
    )
    assert error_text(run_of(task(0, 4, 0)), memory=False) == ""


def test_memory_of_a_gpu_is_compared_and_called_so():
    """A task that did not see the GPU reserved nothing of it, and is not compared."""
    run = run_of(
        task(0, 2, 0, "mutual", predicted_s=1.0, submitted_s=0.0, predicted_bytes=3e9, peak_bytes=2e9,
             gpu_peak_bytes=4e9),
        task(0, 2, 0, predicted_s=1.0, submitted_s=0.0, predicted_bytes=0.0, peak_bytes=2e9, gpu_peak_bytes=0.0),
    )  # fmt: skip
    assert predictions(run, memory=True) == [("mutual", 3000.0, 4000.0)]
    assert memory_name(run) == "GPU memory"
    assert prediction_scatter(run, LIGHT, memory=True).axes[0].get_xlabel() == "predicted peak GPU memory, MB"
    assert memory_name(run_of(task(0, 2, 0, predicted_bytes=3e9, peak_bytes=2e9))) == "memory"
    assert prediction_table(run).heads[-1] == "worst GPU memory"
    assert [row[-1] for row in prediction_table(run).rows] == ["133% of predicted", "0% of predicted"]


def test_kinds_of_task_look_as_the_header_says():
    kinds = {"label": TaskKind(wording="labels frames", colour="label"), "sense": TaskKind(wording="x", colour="#f00")}
    header = Header(format=2, status="running", method="A4", kinds=kinds)
    run = Run(directory=Path("run"), header=header, events=(task(0, 1, 0), task(1, 2, 0, "novelty")))
    marks = kind_marks(run, ("label", "novelty", "sense"))
    assert [(m.text, m.colour) for m in marks] == [("labels frames", "label"), ("novelty", "other"), ("x", "other")]
    drawn = gantt(run, LIGHT)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["labels frames", "novelty"]
    colours = [tuple(bars.get_facecolor()[0]) for bars in drawn.axes[0].collections]
    assert colours == [to_rgba(LIGHT.label), to_rgba(LIGHT.other)]


def test_a_long_list_of_workers_and_terminals_has_room():
    run = run_of(*(task(0, 2, worker) for worker in range(30)))
    assert gantt(run, LIGHT).get_figheight() > 10
    assert gantt(run_of(), LIGHT).axes[0].get_yticks().size == 0


@pytest.mark.parametrize("setup_s", [2.0, 30.0])
def test_names_of_windows_in_the_chart_do_not_overprint(setup_s):
    tasks = [replace(task(0, setup_s, 0), window=SETUP), task(setup_s, setup_s + 3, 0)]
    tasks += [replace(task(setup_s + 3, 100, 0), window=1)]
    figure = gantt(run_of(*tasks), LIGHT)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    names = [text for text in figure.axes[0].texts if text.get_text()]
    assert names[-1].get_text() == " window 1"
    boxes = [text.get_window_extent() for text in names]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_every_kind_of_task_of_a_run_has_a_colour_of_its_own():
    """Kinds that stand in for one another, by method, share one."""
    shared = {"self-label": "label", "ground-truth": "label", "adapt": "mutual", "average": "merge",
              "adapt-scale-and-shift": "adapt-batch-norm"}  # fmt: skip
    assert {STEPS[kind].colour for kind in shared} <= {STEPS[kind].colour for kind in shared.values()}
    for palette in (LIGHT, DARK):
        own = [colour_of(palette, step.colour) for kind, step in STEPS.items() if kind not in shared]
        assert len(set(own)) == len(own)
        assert palette.other not in own
