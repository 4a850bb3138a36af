"""What runs, what is refused or skipped, and that an interrupted comparison goes on."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_up_runs import write_run

from nestevo_hw.base.documents import plain, write_json
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError, TaskError
from nestevo_hw.cli import main
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.versions import versions
from nestevo_hw.scheduler.task import TaskFailure
from nestevo_hw.studies.compare import study
from nestevo_hw.studies.compare.study import plan_study, run_study
from nestevo_hw.studies.compare.variants import ABLATIONS, GAP, METHODS, QUICK, Variant, choose

BASE = override(load_preset("quick"), {"window.count": 1})


class _Runs:
    """Stands in for `evolve`: writes run folders, remembers how it was called, and may be interrupted."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.stop_at = stop_at

    def evolve(self, config, folder: Path, *, resume, page, on_task):
        assert page
        self.calls.append((folder.name, resume))
        stopped = len(self.calls) == self.stop_at
        write_run(folder, "NestEvo", config.seed, config=config.document(), status="running" if stopped else "complete",
                  value=lambda *_: (0.4, None if config.method == "A3" else 0.6))  # fmt: skip
        for name in ("upload.safetensors", "terminal.safetensors", "terminal.onnx"):
            path = folder / "windows" / "000" / "campus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        on_task(_Task())
        if stopped:
            raise KeyboardInterrupt
        (folder / "report.html").write_text("of its end")
        return {}


class _Task:
    name = "w0/label/campus"


def _plan(names, seeds=1, base=BASE):
    return plan_study(base, choose(names, ablations=False), seeds)


def _run(monkeypatch, runs, plan, folder, *, resume=False, keep_files=False):
    monkeypatch.setattr(study, "evolve", runs.evolve)
    told = []
    found = run_study(plan, folder, resume=resume, keep_files=keep_files, advance=told.append)
    return found, told


def test_every_variant_runs_with_every_seed_and_progress_adds_up(monkeypatch, tmp_path):
    runs, plan = _Runs(), _plan(["NestEvo", "A3", "A4"], seeds=2)
    found, told = _run(monkeypatch, runs, plan, tmp_path / "out")
    assert runs.calls == [(f"{n}-{s}", False) for s in (0, 1) for n in ("NestEvo", "A3", "A4")]
    assert len(told) == plan.steps
    assert (found.names, found.seeds) == (("NestEvo", "A3", "A4"), (0, 1))
    for (name, seed), config in plan.configs.items():
        assert (config.method, config.seed) == (name, seed)
        assert replace(config, method="NestEvo", seed=0) == replace(BASE, method="NestEvo")


def test_finished_runs_keep_only_what_can_be_deployed(monkeypatch, tmp_path):
    for keep_files in (False, True):
        folder = tmp_path / str(keep_files)
        _run(monkeypatch, _Runs(), _plan(["A4"]), folder, keep_files=keep_files)
        names = {path.name for path in (folder / "A4-0" / "windows" / "000" / "campus").iterdir()}
        assert names == {"terminal.safetensors", "terminal.onnx"} | ({"upload.safetensors"} if keep_files else set())


def test_an_interrupted_comparison_goes_on_where_it_stopped(monkeypatch, tmp_path):
    plan = _plan(["NestEvo", "A4"], seeds=2)
    with pytest.raises(NestEvoError, match=r"stopped after 1 of 4 runs.*--resume"):
        _run(monkeypatch, _Runs(stop_at=2), plan, tmp_path)
    with pytest.raises(ConfigError, match="not empty"):
        _run(monkeypatch, _Runs(), plan, tmp_path)
    runs = _Runs()
    found, told = _run(monkeypatch, runs, plan, tmp_path, resume=True)
    assert runs.calls == [("A4-0", True), ("NestEvo-1", False), ("A4-1", False)]
    assert len(told) == plan.steps
    assert len(found.outcomes) == 4
    wider = _Runs()
    _run(monkeypatch, wider, _plan(["NestEvo", "A3", "A4"], seeds=2), tmp_path, resume=True)
    assert wider.calls == [("A3-0", False), ("A3-1", False)]


def test_a_run_killed_before_its_page_gets_it(monkeypatch, tmp_path):
    _run(monkeypatch, _Runs(), _plan(["NestEvo", "A3", "A4"]), tmp_path)
    missing, old, whole = (tmp_path / f"{name}-0" for name in ("NestEvo", "A3", "A4"))
    (missing / "report.html").unlink()
    header = (old / "run.json").stat().st_mtime_ns
    os.utime(old / "report.html", ns=(header - 1, header - 1))  # an earlier look at the run
    drawn, runs = [], _Runs()
    monkeypatch.setattr(study, "write_report", drawn.append)
    _run(monkeypatch, runs, _plan(["NestEvo", "A3", "A4"]), tmp_path, resume=True)
    assert (runs.calls, drawn) == ([], [missing, old])
    assert (whole / "report.html").read_text() == "of its end"


def test_there_is_something_to_resume(monkeypatch, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no comparison to resume; leave --resume out"):
        _run(monkeypatch, _Runs(), _plan(["A4"]), tmp_path, resume=True)
    (tmp_path / "A4-0").mkdir()  # killed as it began
    runs = _Runs()
    _run(monkeypatch, runs, _plan(["A4"]), tmp_path, resume=True)
    assert runs.calls == [("A4-0", False)]


def test_a_damaged_run_is_told_what_to_do_about(monkeypatch, tmp_path):
    _run(monkeypatch, _Runs(), _plan(["A4"]), tmp_path)
    (tmp_path / "A4-0" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"A4-0/run.json is not valid JSON.*; delete .*A4-0 and --resume"):
        _run(monkeypatch, _Runs(), _plan(["A4"]), tmp_path, resume=True)


def test_a_run_in_which_a_worker_died_goes_on_elsewhere(monkeypatch, tmp_path):
    _run(monkeypatch, _Runs(), _plan(["A4"]), tmp_path)
    failed = TaskFailure(name="w0/distil/campus", reason="its worker was killed", attempts=2)
    write_json(tmp_path / "A4-0" / "results" / "w0.distil.campus.json", {"failed": plain(failed)})
    runs = _Runs()
    elsewhere = override(BASE, {"execution.workers": 3})
    _run(monkeypatch, runs, _plan(["A4"], base=elsewhere), tmp_path, resume=True, keep_files=True)
    assert runs.calls == [("A4-0", True)]
    assert (tmp_path / "A4-0" / "windows" / "000" / "campus" / "upload.safetensors").exists()


def test_a_run_that_fails_is_named(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise TaskError("task w0/distil/campus failed: no memory")

    monkeypatch.setattr(study, "evolve", fail)
    with pytest.raises(TaskError, match="A4, seed 0: task w0/distil/campus failed: no memory; --resume goes on"):
        run_study(_plan(["A4"]), tmp_path, resume=False, keep_files=False, advance=print)


def test_runs_of_another_configuration_are_not_mixed_in(monkeypatch, tmp_path):
    _run(monkeypatch, _Runs(), _plan(["A4"]), tmp_path)
    other = override(BASE, {"window.upload_frames": 50})
    with pytest.raises(
        ConfigError, match=r"A4-0 was run with another .*\(window\.upload_frames is \d+ there and 50 here\)"
    ):
        _run(monkeypatch, _Runs(), _plan(["A4"], base=other), tmp_path, resume=True)
    elsewhere = _Runs()
    _run(monkeypatch, elsewhere, _plan(["A4"], base=override(BASE, {"execution.workers": 3})), tmp_path, resume=True)
    assert elsewhere.calls == []


def test_runs_of_other_versions_are_named_and_stay(monkeypatch, tmp_path):
    _run(monkeypatch, _Runs(), _plan(["NestEvo", "A4"]), tmp_path)
    here = versions()
    for name, torch in (("NestEvo-0", here["torch"]), ("A4-0", "1.0")):
        path = tmp_path / name / "run.json"
        write_json(path, json.loads(path.read_text()) | {"versions": here | {"torch": torch}})
        path.with_name("report.html").write_text("of its end")
    runs, warned = _Runs(), []
    monkeypatch.setattr(study, "evolve", runs.evolve)
    wider = _plan(["NestEvo", "A3", "A4"])
    run_study(wider, tmp_path, resume=True, keep_files=False, advance=lambda _: None, on_warning=warned.append)
    assert runs.calls == [("A3-0", False)]
    assert warned == [
        f"{tmp_path}: A4-0 ran with torch 1.0 (here {here['torch']}); runs may differ for that alone, "
        "choose another --out to run all anew"
    ]


def test_a_variant_that_changes_nothing_is_skipped_and_said_so():
    base = override(BASE, {"teacher.analog": "digital", "mutual.noise_mu": 0.0})
    plan = _plan(["NestEvo", "digital-teacher", "without-noise-training", "without-mutual-learning"], base=base)
    assert [v.name for v in plan.variants] == ["NestEvo", "without-mutual-learning"]
    for name in ("digital-teacher", "without-noise-training"):
        assert plan.left_out[name] == "skipped: in this configuration it is the same as NestEvo"


def test_a_variant_that_cannot_run_is_refused_and_the_others_run():
    plan = _plan(["NestEvo", "naive-average"])
    assert [v.name for v in plan.variants] == ["NestEvo"]
    assert plan.left_out["naive-average"].startswith("refused: naive-average: terminals campus and village differ")
    with pytest.raises(ConfigError, match=r"nothing to compare: naive-average refused: .* differ in structure"):
        _plan(["naive-average"])


def test_terminals_of_one_structure_can_be_averaged():
    document = BASE.document()
    for terminal in document["terminals"]:
        terminal["model"] = "fasterrcnn-tiny-m2"
    plan = _plan(["naive-average"], base=parse_config(document, source="test"))
    assert plan.left_out == {}


def test_a_setting_that_does_not_exist_is_named():
    variant = Variant(name="odd", meaning="no such thing", changes={"nothing.here": 1})
    with pytest.raises(ConfigError, match="odd: the configuration has no section 'nothing'"):
        variant.config(BASE, 0)


def test_a_configuration_that_cannot_run_stops_everything():
    with pytest.raises(ConfigError, match="unknown chip"):
        _plan(["NestEvo"], base=override(BASE, {"refresh.chip": "abacus"}))


def test_methods_are_chosen_by_name():
    assert [v.name for v in choose(None, ablations=False)] == [v.name for v in METHODS]
    assert choose(None, ablations=True) == (*METHODS, *ABLATIONS)
    assert [v.name for v in choose(["A4", "NestEvo"], ablations=False)] == ["NestEvo", "A4"]
    assert {"NestEvo", "A2", "A4"} <= {v.name for v in choose(["A3"], ablations=True)}
    assert len(choose(QUICK, ablations=False)) == 3
    for names, message in ((["A9"], "unknown method 'A9'"), (["A4", "A4"], "named twice"), ([], "at least one")):
        with pytest.raises(ConfigError, match=message):
            choose(names, ablations=False)


def test_every_variant_has_its_own_name_and_says_what_it_is():
    everything = (*METHODS, *ABLATIONS, *GAP)
    assert len({v.name for v in everything}) == len(everything)
    assert len({json.dumps(v.changes) for v in (*METHODS, *ABLATIONS)}) == len(METHODS) + len(ABLATIONS)
    assert all(v.meaning and "\n" not in v.meaning for v in everything)


def test_the_console_says_what_failed_and_ends_with_3(monkeypatch, tmp_path):
    def failing(config, folder, **_):
        write_run(folder, config.method, config.seed, config=config.document(), value=lambda *_: (0.3, 0.5))
        failure = {"event": "failure", "window": 0, "kind": "distil", "terminal": "campus", "reason": "it was killed"}
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(failure) + "\n")

    monkeypatch.setattr(study, "evolve", failing)
    monkeypatch.setattr(study, "write_report", lambda _: None)
    command = ["compare", "--methods", "A4", "--seeds", "1", "--windows", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 3, result.output
    assert "failed for good in A4, seed 0: " in result.output
    assert "written to" in result.output


def test_a_preset_beside_a_configuration_is_refused(tmp_path):
    (tmp_path / "own.toml").write_text("", encoding="utf-8")
    for command in ("compare", "evolve"):
        result = CliRunner().invoke(main, [command, str(tmp_path / "own.toml"), "--preset", "digits"])
        assert (result.exit_code, "--preset digits is what runs without a configuration" in result.output) == (2, True)
