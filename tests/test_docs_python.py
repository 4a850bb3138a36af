"""The Python of the pages runs as it is printed."""

import contextlib
import io
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from nestevo_hw.base.jsonlines import append_line
from nestevo_hw.commands.export import export
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.report.records.event import event_document
from nestevo_hw.report.records.terminal import Absent, Accuracy
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.faster_rcnn.labelling import predict

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "your-model.md"


def python_of(page):
    """The only Python of a page."""
    (lines,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return lines


def test_the_curve_of_the_page():
    lines = python_of(PAGE)
    assert len([line for line in lines.splitlines() if line and "import" not in line]) <= 20
    found, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(lines, str(PAGE), "exec"), found)
    curve = {when: sum(each) / len(each) for when, each in found["curve"].items()}
    assert list(curve) == ["digital", "0 d", "1 d", "30 d", "365 d"]
    assert curve["digital"] > 0.85
    assert 0.5 < curve["365 d"] <= curve["0 d"] + 0.02
    assert len(printed.getvalue().splitlines()) == 5


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_the_client_of_the_page(colour, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(export, ["fasterrcnn-tiny-m3", "--out", "deployed", "--colour", colour])
    assert done.exit_code == 0, done.output
    image = SyntheticStream(name="a", place="campus", seed=3, size=(256, 320)).read([40]).images[0]
    np.save("frame.npy", image.permute(1, 2, 0).numpy())
    lines, printed = python_of(DOCS / "deploy.md"), io.StringIO()
    assert len([line for line in lines.splitlines() if line and "import" not in line]) <= 20
    with contextlib.redirect_stdout(printed):
        exec(compile(lines, "deploy.md", "exec"), {})
    told = [re.split(r" at | to |, | ", line) for line in printed.getvalue().splitlines()]
    seen = image.float().unflatten(1, (128, 2)).unflatten(3, (160, 2)).mean((2, 4)).add(0.5).floor().byte()
    (expected,) = predict(load_pretrained("fasterrcnn-tiny-m3"), seen[None])
    sure = expected["scores"] >= 0.5
    assert len(told) == int(sure.sum()) > 0
    names = [("pedestrian", "car", "cyclist")[label - 1] for label in expected["labels"][sure].tolist()]
    assert [name for name, *_ in told] == names
    numbers = np.array([[float(n) for n in rest] for _, *rest in told])
    assert np.abs(numbers[:, 0] - expected["scores"][sure].numpy()).max() < 0.006
    assert np.abs(numbers[:, 1:] - 2 * expected["boxes"][sure].numpy()).max() < 0.51
    (tmp_path / "deployed" / "model.onnx").write_bytes(b"half a download")
    with pytest.raises(SystemExit, match="damaged"):
        exec(compile(lines, "deploy.md", "exec"), {})


def test_the_recipe_for_a_tracker_takes_every_accuracy_of_a_run(tmp_path, monkeypatch):
    """With a stand-in for TensorBoard, which is not installed here."""
    taken = []

    class SummaryWriter:
        def __init__(self, folder):
            assert folder == Path("runs/first/tensorboard")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def add_scalar(self, *scalar):
            taken.append(scalar)

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.chdir(tmp_path)
    Path("runs/first").mkdir(parents=True)
    events = [Accuracy(window=w, model="a", scene="a", stage="after", score=s) for w, s in ((0, 0.5), (1, math.nan))]
    for event in (*events, Absent(window=0, terminal="a", reason="none")):
        append_line(Path("runs/first/metrics.jsonl"), event_document(event))
    exec(compile(python_of(DOCS / "architecture.md"), "architecture.md", "exec"), {})
    assert taken == [("a/a/after", 0.5, 0)]
