"""Cells of a grid as its file says them, cells that go on after an interruption, and the map that they make."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_up_runs import write_run
from scipy.stats import t

from nestevo_hw.base.errors import ConfigError, StoppedError
from nestevo_hw.cli import main
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.studies.compare import study
from nestevo_hw.studies.compare.grid.cells import cells_of, chosen_axes, open_grid
from nestevo_hw.studies.compare.grid.output import map_table, write_map
from nestevo_hw.studies.compare.grid.results import read_map
from nestevo_hw.studies.compare.grid.spec import load_spec
from nestevo_hw.studies.compare.grid.study import plan_grid, run_grid
from nestevo_hw.studies.compare.variants import ABLATIONS
from nestevo_hw.studies.compare.variants import METHODS as VARIANTS

GRID = """
base = "digits"
methods = ["NestEvo", "A4-confirmed"]
seeds = 2
cross = [["frames", "night"]]
[all]
set = { window = { count = 1 } }
each = { drift = [{ window = 0, kind = "night", strength = 0.8 }] }
[[axes]]
name = "frames"
text = "frames of each camera"
values = [{ name = "8", set = { window = { upload_frames = 8 } } }, { name = "96" }]
[[axes]]
name = "night"
text = "strength of night"
values = [{ name = "1.0", each = { drift = [{ window = 0, kind = "night", strength = 1.0 }] } }, { name = "0.8" }]
[[axes]]
name = "cameras"
text = "cameras"
values = [{ name = "1", terminals = 1 }, { name = "5", terminals = 5, scored = ["counter-2", "belt-2"] }]
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID, encoding="utf-8")
    return path


def plan_of(path, *axes):
    spec = load_spec(path)
    spec = chosen_axes(spec, axes) if axes else spec
    return plan_grid(spec, open_grid(spec, path))


class _Runs:
    """Stands in for `evolve`: NestEvo is better by what the seed and the cell say."""

    def __init__(self, stop_at=None):
        self.folders, self.stop_at = [], stop_at

    def evolve(self, config, folder, **how):
        assert not how["page"]
        self.folders.append(f"{folder.parent.name}/{folder.name}")
        if len(self.folders) == self.stop_at:
            raise KeyboardInterrupt
        more = 0.0 if "A4" in folder.name else 0.1 + 0.04 * config.seed

        def value(name, seed, terminal, window):
            return 0.3, 0.5 + more + (0.2 if terminal == "belt-2" else 0.0)

        write_run(folder, "NestEvo", config.seed, config=config.document(), value=value, metric=("accuracy", "recall"))
        return {}


def test_one_factor_at_a_time_then_pairs_and_what_changes_nothing_is_the_base(grid):
    rows = open_grid(load_spec(grid), grid)
    assert [(row.value, row.cell.folder) for row in rows] == [
        ("8", "frames-8"), ("96", "base"), ("1.0", "night-1_0"), ("0.8", "base"), ("1", "cameras-1"),
        ("5", "cameras-5"), ("8, 1.0", "frames-8+night-1_0"), ("8, 0.8", "frames-8"), ("96, 1.0", "night-1_0"),
        ("96, 0.8", "base"),
    ]  # fmt: skip
    cells = {cell.folder: cell.config for cell in cells_of(rows)}
    both = cells["frames-8+night-1_0"]
    assert (both.window.upload_frames, both.window.length_s) == (8, cells["base"].window.length_s)
    assert {step.strength for t in both.terminals for step in t.drift} == {1.0}
    assert [t.name for t in cells["cameras-5"].terminals] == ["counter", "belt", "gate", "counter-2", "belt-2"]
    assert {step.strength for t in cells["cameras-5"].terminals for step in t.drift} == {0.8}
    assert [row.scored for row in rows if row.value == "5"] == [("counter-2", "belt-2")]


def test_the_shipped_grid_is_one():
    path = ROOT / "examples" / "regime.toml"
    spec = load_spec(path)
    cells = {cell.folder: cell.config for cell in cells_of(open_grid(spec, path))}
    assert {"base", "frames-96", "cameras-12", "late-2_of_4__no_images"} <= set(cells)
    for config in cells.values():
        METHODS["NestEvo"].check(config)
    assert set(spec.methods) <= {variant.name for variant in (*VARIANTS, *ABLATIONS)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"A4-confirmed"]', '"A4"]', "against: 'A4-confirmed' is none of methods"),
        ('"A4-confirmed"]', '"A4-confirmed", "A9"]', "unknown method 'A9'"),
        ('[["frames", "night"]]', '[["frames", "day"]]', "cross: unknown axis 'day'"),
        ('[["frames", "night"]]', '[["frames", "frames"]]', "cross: 'frames' with itself gives nothing new"),
        ('name = "8"', 'name = " "', "axes.frames.values.name: one is empty"),
        (GRID[GRID.index("[[axes]]"):], "", "axes"),
        (GRID[GRID.index("[[axes]]"):], "axes = []", "axes"),
        ('base = "digits"', 'base = "nowhere.toml"', r"grid\.toml: base: .*nowhere\.toml"),
        ('terminals = 1 }', 'each = { model = "nope" } }', r"grid\.toml: axes\.cameras\.1: .*no checkpoint 'nope'"),
        ("upload_frames = 8", "frames = 8", "axes.frames.8: window.frames"),
        ('name = "96" }]', 'name = "8" }]', "axes.frames.values.name: names must differ"),
        ('"belt-2"]', '"roof"]', "scored: no terminal 'roof'; there are counter"),
        ("terminals = 1 }", "terminals = 0 }", "terminals"),
        ('set = { window = { count = 1 } }', 'set = { terminals = [] }', "set holds no terminals"),
        ('set = { window = { count = 1 } }', 'one = { roof = { joins = 1 } }', "one.roof: no such terminal"),
        ('text = "cameras"', 'txt = "cameras"', r"axes\[2\].t"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_is_refused_in_one_line_that_names_the_place(old, new, message, grid):
    grid.write_text(GRID.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as told:
        plan_of(grid)
    assert "\n" not in str(told.value)


def test_an_interrupted_grid_goes_on_where_it_stopped_and_makes_the_same_map(monkeypatch, grid, tmp_path):
    runs, plan, out = _Runs(stop_at=6), plan_of(grid, "frames", "cameras"), tmp_path / "out"
    monkeypatch.setattr(study, "evolve", runs.evolve)

    def go(*, resume):
        return run_grid(plan, out, resume=resume, keep_files=False, advance=lambda _: None)

    with pytest.raises(StoppedError):
        go(resume=False)
    with pytest.raises(ConfigError, match="not empty"):
        go(resume=False)
    runs.stop_at = None
    found = read_map(plan, go(resume=True))
    assert len(runs.folders) == 1 + len(set(runs.folders)) == 1 + plan.runs
    assert runs.folders[:2] == ["frames-8/NestEvo-0", "frames-8/A4-confirmed-0"]

    # The difference is 0.10 and 0.14 by seed; with two seeds Student's t has one degree of freedom.
    rows = {row.row.value: row.findings["NestEvo"] for row in found.rows}
    half = t.ppf(0.975, 1) * 0.02
    assert rows["8"].by_seed == pytest.approx((0.10, 0.14))
    assert rows["8"].apart.ci95 == pytest.approx((0.12 - half, 0.12 + half))
    # Only the scored terminals count: of counter-2 and belt-2 the second is better by 0.2.
    assert rows["5"].after.mean == pytest.approx(0.5 + 0.12 + 0.1)
    assert rows["1"].after.mean == pytest.approx(0.62)

    assert write_map(found, out) == ["regime.json", "regime.png"]
    document = json.loads((out / "regime.json").read_text(encoding="utf-8"))
    assert [row["cell"] for row in document["rows"]] == ["frames-8", "base", "cameras-1", "cameras-5"]
    assert document["rows"][0]["methods"]["A4-confirmed"]["minus_against"]["mean"] == 0.0
    assert (out / "regime.png").stat().st_size > 10_000
    table = map_table(found)
    assert "teacher on a simulated pcm crossbar" in table.title
    assert document["teacher"] == found.teacher == "teacher on a simulated pcm crossbar"
    assert table.rows[1][:3] == ("frames of each camera", "96 (base)", "0.500")
    assert table.rows[1][3].startswith("+0.120")
    assert found.rows[0].findings["A4-confirmed"].teacher.mean == pytest.approx(0.725)


COLLIDING = """
base = "digits"
methods = ["A4-confirmed"]
[[axes]]
name = "night"
text = "night"
values = [{ name = "low-a", set = { window = { upload_frames = 8 } } }]
[[axes]]
name = "night-low"
text = "low night"
values = [{ name = "a", set = { window = { upload_frames = 9 } } }]
"""


def test_two_cells_never_share_a_folder(grid):
    grid.write_text(COLLIDING, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"axes\.night-low\.a: its folder would be night-low-a, as that of .*low-a; re"
    ):
        plan_of(grid)


def test_a_grid_killed_as_a_cell_began_goes_on(monkeypatch, grid, tmp_path):
    """A run whose folder holds its lock alone had not begun; one that holds other files is nobody's run."""
    plan, runs, out = plan_of(grid, "frames"), _Runs(), tmp_path / "out"
    monkeypatch.setattr(study, "evolve", runs.evolve)
    begun = out / "frames-8" / "NestEvo-0"
    begun.mkdir(parents=True)
    (begun / ".lock").touch()
    found = run_grid(plan, out, resume=True, keep_files=False, advance=lambda _: None)
    assert list(found) == ["frames-8", "base"]
    (out / "base" / "NestEvo-1" / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"NestEvo-1 holds files but no run\.json, so no run; delete it"):
        run_grid(plan, out, resume=True, keep_files=False, advance=lambda _: None)
    with pytest.raises(ConfigError, match="holds no grid to resume"):
        run_grid(plan, tmp_path / "none", resume=True, keep_files=False, advance=lambda _: None)


def test_a_stopped_grid_counts_the_runs_of_all_cells(monkeypatch, grid, tmp_path):
    monkeypatch.setattr(study, "evolve", _Runs(stop_at=6).evolve)
    with pytest.raises(
        StoppedError, match=r"after 5 of 8 runs, which are kept in .*out; run the same command with --re"
    ):
        run_grid(plan_of(grid, "frames"), tmp_path / "out", resume=False, keep_files=False, advance=lambda _: None)


def test_what_did_not_run_and_what_failed_is_said(monkeypatch, grid, tmp_path):
    grid.write_text(GRID.replace('"A4-confirmed"]', '"A4-confirmed", "labels-completed"]'), encoding="utf-8")
    runs = _Runs()

    def evolve(config, folder, **how):
        runs.evolve(config, folder, **how)
        if folder.name == "NestEvo-0" and folder.parent.name == "base":
            failure = {"event": "failure", "window": 0, "kind": "distil", "terminal": "belt", "reason": "it was killed"}
            with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(failure) + "\n")

    monkeypatch.setattr(study, "evolve", evolve)
    command = ["compare", "--grid", str(grid), "--axes", "frames", "--seeds", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 3, result.output
    assert "base: labels-completed refused: " in result.output
    assert "failed for good in base: NestEvo, seed 0: " in result.output
    assert "one seed" in result.output
    assert "computed on cpu" in result.output
    document = json.loads((tmp_path / "out" / "regime.json").read_text(encoding="utf-8"))
    assert set(document["left_out"]) == {"base: labels-completed", "frames-8: labels-completed"}
    assert list(document["failures"]) == ["base: NestEvo, seed 0"]


def test_options_that_the_grid_decides_are_refused(grid, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    for extra, message in (
        (["--quick"], "leave --quick out"), (["--methods", "A4"], "leave --methods out"),
        (["--axes", ","], "--axes: name at least one; choose from frames, night, cameras"),
        (["--axes", "moon"], "unknown axis 'moon'; choose from frames, night, cameras"),
    ):  # fmt: skip
        result = CliRunner().invoke(main, ["compare", "--grid", str(grid), *extra, *out])
        assert (result.exit_code, message in result.output) == (2, True), result.output
    result = CliRunner().invoke(main, ["compare", "--axes", "frames", *out])
    assert (result.exit_code, "give one with --grid" in result.output) == (2, True)
