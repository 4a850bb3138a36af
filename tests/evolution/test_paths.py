"""Paths of elastic terminals, as the driver asks for them: timed alone, searched once, chosen twice a window."""

from dataclasses import replace

import pytest

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.outlook import most_tasks
from nestevo_hw.evolution.steps.paths import ChoosePathRequest, SearchPathsRequest, TimePathsRequest
from nestevo_hw.evolution.steps.training import MutualRequest
from nestevo_hw.models.elastic.space import Branch, PathSpace
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.terminal import Elastic
from nestevo_hw.report.tables import paths_table
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel
from nestevo_hw.terminals.elastic.pool import Candidate
from nestevo_hw.testing.simulated import SimulatedExecutor, drive, typical

WHOLE, MERGED, NARROW = (Branch(0), Branch(1)), (Branch(0, 2),), (Branch(0), Branch(1, 1, 0.5))
SPACE = PathSpace(2, (Branch(0), Branch(0, 2), Branch(1), Branch(1, 1, 0.5)))
TIMES = LatencyModel(
    (BranchTime(Branch(0), 0.5), BranchTime(Branch(1), 0.5), BranchTime(Branch(0, 2), 0.4),
     BranchTime(Branch(1, 1, 0.5), 0.2))
)  # fmt: skip
POOL = (Candidate(WHOLE, 1.0, 0.9), Candidate(MERGED, 0.4, 0.7), Candidate(NARROW, 0.7, 0.7))


def config(windows=2, *, in_place=False, **changes):
    changes = {"window.count": windows, "elastic.supernet": "supernet", "elastic.latency": "macs", **changes}
    document = override(load_preset("quick"), changes).document()
    first, second, third = document["terminals"]
    if in_place:
        document["elastic"]["in_place_of_models"] = True
    else:
        first.update(model=None, latency_budget=0.8)
    document["terminals"] = [first, second, third]
    return parse_config(document, source="test")


def answers(chosen=None, deployed="evolved", share=0.6):
    """Typical ones, but for those on paths; `chosen` by window and kind is another path than the live one."""

    def answer(asked):
        result, request = typical(asked), asked.request
        match asked.id.kind:
            case "time-paths":
                return replace(result, space=SPACE, latency=TIMES, shares=dict.fromkeys(request.models, share))
            case "search-paths":
                return replace(result, pool=POOL, paths=dict.fromkeys(request.budgets_s, NARROW))
            case "choose-path" | "choose-path-again":
                path = (chosen or {}).get((asked.id.window, asked.id.kind), NARROW)
                return replace(result, live=NARROW, chosen=path, paths=(NARROW, MERGED), scores=(0.5, 0.6))
            case "select":
                return replace(result, chosen=deployed)
        return result

    return answer


def run(folder, settings, **told):
    executor = SimulatedExecutor(answers=answers(**told), remember=True)
    server = drive(settings, folder, executor)
    assert len(executor.asked) <= most_tasks(settings)
    return server, executor


def test_branches_are_timed_alone_before_anything_else_and_a_path_is_searched_within_the_budget(tmp_path):
    server, executor = run(tmp_path, config(1))
    assert [asked.id.kind for asked in executor.asked[:2]] == ["time-paths", "prepare"]
    (timing,), (searched,) = executor.requests(TimePathsRequest), executor.requests(SearchPathsRequest)
    assert timing.models == {}
    assert searched.budgets_s == {"campus": pytest.approx(0.8)}
    assert searched.models == {"campus": tmp_path / "paths" / "campus.safetensors"}
    assert {asked.id.subject for asked in executor.asked if asked.id.kind == "dry-run"} == {
        "campus", "village", "downtown",
    }  # fmt: skip
    assert set(server.models) == {"campus", "village", "downtown"}


def test_a_path_is_chosen_before_and_after_each_training_among_those_that_fit(tmp_path):
    taken = {(0, "choose-path"): MERGED, (1, "choose-path-again"): MERGED}
    server, executor = run(tmp_path, config(), chosen=taken)
    chosen = executor.requests(ChoosePathRequest)
    assert [(r.trained, r.live.name) for r in chosen] == [
        (False, "campus.safetensors"), (True, "terminal.safetensors"),
        (False, "terminal.safetensors"), (True, "terminal.safetensors"),
    ]  # fmt: skip
    # Of two that are as accurate the slower one comes first; what takes longer than the budget is no candidate.
    assert {r.paths for r in chosen} == {(NARROW, MERGED)}
    first = next(r for r in executor.requests(MutualRequest) if "campus" in str(r.terminal_out))
    assert first.terminal == chosen[0].chosen_out
    assert server.models["campus"] == chosen[3].chosen_out


def test_what_a_deployed_training_has_learned_is_where_the_next_window_begins(tmp_path):
    _, executor = run(tmp_path / "kept", config())
    chosen = executor.requests(ChoosePathRequest)
    built = config().elastic.supernet_file
    assert [r.supernet for r in chosen] == [built, built, chosen[1].supernet_out, chosen[1].supernet_out]
    _, executor = run(tmp_path / "refused", config(), deployed="old")
    assert {r.supernet for r in executor.requests(ChoosePathRequest)} == {built}


def test_supernets_that_are_in_use_outlast_their_windows(tmp_path):
    server, executor = run(tmp_path, config(3, **{"execution.keep_windows": 1}))
    assert executor.requests(ChoosePathRequest)[-1].supernet_out in server.files_in_use()


def test_no_candidates_keep_the_path_and_other_methods_do_not_choose(tmp_path):
    for number, changes in enumerate(({"elastic.candidates": 0}, {"method": "A4"}, {"deployment.held_back": 0.0})):
        _, executor = run(tmp_path / str(number), config(**changes))
        asked = [request.trained for request in executor.requests(ChoosePathRequest)]
        assert asked == ([False, False] if number == 2 else [])


def test_paths_in_place_of_models_take_no_longer_than_these(tmp_path):
    _, executor = run(tmp_path, config(1, in_place=True))
    (timing,), (searched,) = executor.requests(TimePathsRequest), executor.requests(SearchPathsRequest)
    assert list(timing.models) == list(searched.budgets_s) == ["campus", "village", "downtown"]
    assert set(searched.budgets_s.values()) == {0.6}
    assert {path.parent.name for path in searched.models.values()} == {"paths"}
    with pytest.raises(ConfigError, match=r"'campus': fasterrcnn-tiny-m1 in elastic.in_place_of_models: no path takes"):
        run(tmp_path / "faster", config(1, in_place=True), share=0.2)


def test_the_page_says_which_path_was_taken_when_and_why(tmp_path):
    run(tmp_path, config(1), chosen={(0, "choose-path"): MERGED})
    write_json(tmp_path / "run.json", {"format": 2, "status": "complete", "method": "NestEvo"})
    found = read_run(tmp_path).of(Elastic)
    assert [(e.stage, e.path, e.left, e.share, e.budget) for e in found] == [
        ("search", "0+1@0.5", "", pytest.approx(0.7), 0.8), ("before", "0-1", "0+1@0.5", pytest.approx(0.4), 0.8),
        ("after", "0+1@0.5", "", pytest.approx(0.7), 0.8),
    ]  # fmt: skip
    table = paths_table(read_run(tmp_path))
    assert "modelled from multiply-accumulates" in table.note
    assert list(table.rows[1]) == [
        "0", "campus", "before training", "0-1", "0+1@0.5", "40.0 %", "80.0 %", "0.600", "0.500", "96",
    ]  # fmt: skip


def test_a_killed_run_takes_the_same_paths_and_measures_no_time_again(tmp_path):
    told = {"chosen": {(0, "choose-path"): MERGED, (1, "choose-path-again"): MERGED}}
    whole, _ = run(tmp_path / "run", config(), **told)
    events = read_run_of(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "whole")  # the same folder again, so that paths of files agree

    def killed(asked):
        if (asked.id.window, asked.id.kind) == (0, "choose-path-again"):
            raise KeyboardInterrupt
        return answers(**told)(asked)

    with pytest.raises(KeyboardInterrupt):
        drive(config(), tmp_path / "run", SimulatedExecutor(answers=killed))
    resumed, executor = run(tmp_path / "run", config(), **told)
    assert not executor.requests(TimePathsRequest)
    assert not executor.requests(SearchPathsRequest)
    assert resumed.models == whole.models
    assert resumed.paths.files == whole.paths.files
    assert read_run_of(tmp_path / "run") == events


def read_run_of(folder):
    write_json(folder / "run.json", {"format": 2, "status": "complete", "method": "NestEvo"})
    return read_run(folder).of(Elastic)
