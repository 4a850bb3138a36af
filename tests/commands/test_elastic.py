"""`nestevo-hw elastic` refuses in one line what cannot be done, and shows what it did."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from nestevo_hw.base.documents import plain
from nestevo_hw.cli import main
from nestevo_hw.models.checkpoint import load_model, pretrained_path, read_spec, save_model
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.store import save_supernet
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyErrors, LatencyModel
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.selecting import Selected, Timing
from tests.models.elastic.nets import SPECS, frames_for, net

FOLDER = "tests-have-no-such-folder"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("build digits-mobilenet --out {out} --shrink 0.3,x", 2, "--shrink: need rates from 0.01 to 0.9"),
        ("build digits-mobilenet --out {out} --shrink 1.5", 2, "--shrink: need rates from 0.01 to 0.9"),
        ("build digits-mobilenet --out {out} --labels a.json", 2, "--video goes with --labels"),
        ("build digits-mobilenet --out {out} --video a.mp4 --labels a.json", 2, "this is a model for classification"),
        ("build fasterrcnn-tiny --out {out} --data images", 2, "this is a model for detection"),
        ("build nothing --out {out}", 2, "no checkpoint 'nothing'"),
        ("build fasterrcnn-resnet50-fpn --out {out}", 2, "no weights of fasterrcnn-resnet50-fpn ship; make"),
        ("build digits-mobilenet --out {out} --shrink none --merge 1", 2, "becomes narrower or is merged"),
        ("build digits-cnn --out {out}", 1, "no chain of basic blocks"),
        ("build digits-mobilenet --out {out} --factory mine:make", 2, "--factory is for a checkpoint of your own code"),
        ("build digits-mobilenet --out {out} --resume", 2, "no folder"),
        ("build digits-mobilenet --out {out} --merge 4", 2, "need a whole number from 1 to 3"),
        (f"search {FOLDER} --out {{out}}", 2, "no file"),
        (f"search {FOLDER} --out {{out}} --against gone.safetensors", 2, "no file gone.safetensors; correct --against"),
        (f"search {FOLDER} --out {{out}} --budget 0", 2, "need a number from 0.01 to 1"),
        (f"search {FOLDER} --out {{out}} --budget 0.5 --budget-ms 1", 2, "give one of them"),
        (f"adapt {FOLDER} --search {FOLDER}", 2, "no file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(words, code, told, tmp_path):
    result = CliRunner().invoke(main, ["elastic", *words.format(out=tmp_path / "out").split()])
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not (tmp_path / "out").exists()


def test_code_of_a_checkpoint_runs_only_where_it_is_named(tmp_path):
    def refused(*words):
        result = CliRunner().invoke(main, ["elastic", *map(str, words), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2, result.output
        return result.stderr

    model, spec = load_model(pretrained_path("digits-mobilenet"))
    factory, own = "nestevo_hw.models.classifier:slim_mobilenet", tmp_path / "own.safetensors"
    save_model(model, replace(spec, architecture=factory, background=True), own)
    build = ("build", own, "--merge", 1, "--shrink", "none")
    assert f'its code runs only if --factory = "{factory}"' in refused(*build)
    assert "becomes narrower or is merged" in refused(*build, "--factory", factory)
    supernet = expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=())
    save_supernet(
        supernet, replace(SPECS["mobilenet"], architecture="evil.nets:make"), tmp_path / "supernet.safetensors"
    )
    wanted = 'its code runs only if --factory = "evil.nets:make"'
    assert wanted in refused("search", tmp_path, "--checkpoint", tmp_path / "path.safetensors")
    save_supernet(supernet, SPECS["mobilenet"], tmp_path / "supernet.safetensors")
    assert f"{own} holds a model of {factory}; its code" in refused("search", tmp_path, "--against", own)


@pytest.mark.parametrize("text", ["5", "9:3", "a:b", "0:31"])
def test_a_burden_of_no_frames_is_refused(text, tmp_path):
    left_by_a_search(tmp_path)
    words = ["elastic", "adapt", FOLDER, "--search", str(tmp_path), "--count", "30", "--burden", text]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "--burden: need FROM:TO with 0 <= FROM < TO <= 30" in result.stderr


def left_by_a_search(folder):
    base = (Branch(0), Branch(1))
    one = Candidate(base, 0.01, 0.9)
    timing = Timing(model=LatencyModel(tuple(BranchTime(b, 0.005) for b in base)), base_s=0.01,
                    off=LatencyErrors(paths=1, p50=0.0, p95=0.0, worst=0.0))  # fmt: skip
    selected = Selected(budget_s=0.02, base=one, best=one, measured_s=0.01, evaluated=1, seconds=1.0, timing=timing)
    (folder / "result.json").write_text(json.dumps(plain(selected)))
    (folder / "pool.json").write_text(json.dumps(plain(Pool((one,)))))


def test_a_result_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "search").mkdir()
    left_by_a_search(tmp_path / "search")
    (tmp_path / "adapted").mkdir()
    (tmp_path / "adapted" / "result.json").write_text("{}")
    words = ["elastic", "adapt", FOLDER, "--search", str(tmp_path / "search"), "--out", str(tmp_path / "adapted")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "adapted is not empty; choose another --out" in result.stderr
    assert (tmp_path / "adapted" / "result.json").read_text() == "{}"


def test_what_runs_on_the_device_loads_no_torch():
    modules = ["commands.elastic_search", "commands.elastic_adapt", "terminals.elastic.selecting",
               "terminals.elastic.adapting", "studies.elastic.curve", "models.elastic.space"]  # fmt: skip
    loading = "; ".join(f"import nestevo_hw.{name}" for name in modules)
    found = subprocess.run([sys.executable, "-c", f"{loading}; import sys; print('torch' in sys.modules)"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert found.stdout.strip() == "False"


@pytest.mark.slow
def test_built_searched_compared_and_adapted(tmp_path):
    def run(*words):
        result = CliRunner().invoke(main, ["elastic", *words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    home, found = str(tmp_path / "home"), str(tmp_path / "found")
    built = run("build", "digits-mobilenet", "--out", home, "--frames", "100", "--merge", "2", "--shrink", "0.5",
                "--distil-steps", "4", "--tune-steps", "4")  # fmt: skip
    assert (built["blocks"], built["branches"]) == (10, 10 + 10 + 9)
    shipped, chosen = str(pretrained_path("digits-mobilenet")), str(tmp_path / "chosen.safetensors")
    searched = run("search", home, "--out", found, "--budget", "0.9", "--evaluations", "40", "--most-frames", "20",
                   "--against", shipped, "--checkpoint", chosen, "--cpu-time")  # fmt: skip
    assert searched["best"]["seconds"] <= searched["budget_s"]
    base, path, other = searched["against"]
    assert (base["name"], path["name"], other["name"]) == ("base", "chosen path", "digits-mobilenet")
    assert base["accuracy"] == other["accuracy"]
    spec = read_spec(tmp_path / "chosen.safetensors")
    assert [plain(branch) for branch in spec.blocks.path] == searched["best"]["path"]
    adapted = run("adapt", home, "--search", found, "--out", str(tmp_path / "adapted"), "--count", "20",
                  "--budget-ms", "1000")  # fmt: skip
    assert len(adapted["seconds"]) == 20
    pictures = {file.name for file in tmp_path.rglob("*.png")}
    assert pictures == {"curve.png", "comparison.png", "timeline.png"}
