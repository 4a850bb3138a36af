import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nestevo_hw.commands import schedule as command
from nestevo_hw.scheduler.policies import POLICIES

ROOT = Path(__file__).parents[2]
TASKS = [
    {"name": "campus", "memory_gb": 3.0, "duration_s": 30, "expected_gain": 0.02},
    {"name": "village", "memory_gb": 3.0, "duration_s": 60, "expected_gain": 0.30},
    {"name": "late", "memory_gb": 1.0, "duration_s": 5, "arrives_s": 40, "priority": 1},
]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(TASKS))
    return path


def run(tasks: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(command.schedule, [str(tasks), *options, "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_example_of_the_docs_tells_policies_apart_with_the_figures_printed_there() -> None:
    example, page = ROOT / "examples" / "tasks.json", (ROOT / "docs" / "scheduling.md").read_text()
    figures = run(example, "--workers", "3")["policies"]
    assert len({p["mean_wait_s"] for p in figures}) == len(POLICIES)
    for p in figures:
        row = f"| `{p['name']}` | {p['mean_wait_s']:.1f} | {p['makespan_s']:.1f} | {p['mean_gain']:.4f} |"
        assert row in page


def test_help_offers_every_policy_and_says_what_it_does() -> None:
    shown = CliRunner().invoke(command.schedule, ["--help"], terminal_width=200).stdout
    assert f"[{'|'.join(POLICIES)}]" in shown
    for name, summary in POLICIES.items():
        assert re.search(rf"^ +{name} +{re.escape(summary)}$", shown, re.MULTILINE)


def test_help_is_instant() -> None:
    code = "import sys, nestevo_hw.commands.schedule; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plan_and_figures_by_hand(tasks: Path) -> None:
    """One after the other in 4 GB: campus 0 to 30 s, village 30 to 90 s, late beside it at once."""
    document = run(tasks, "--window-s", "200")
    plan = {p["name"]: p for p in document["plan"]}
    assert [plan[n]["wait_s"] for n in ("campus", "village", "late")] == [0.0, 30.0, 0.0]
    assert plan["late"]["started_s"] == 40.0
    figures = {p["name"]: p for p in document["policies"]}
    assert list(figures) == list(POLICIES)
    assert figures["lookahead"]["mean_wait_s"] == 10.0
    assert figures["lookahead"]["longest_wait_s"] == 30.0
    gain = (0.02 * (1 - 30 / 200) + 0.30 * (1 - 90 / 200)) / 3
    assert figures["lookahead"]["mean_gain"] == pytest.approx(gain)
    useful_first = (0.30 * (1 - 60 / 200) + 0.02 * (1 - 90 / 200)) / 3
    assert figures["lifecycle"]["mean_gain"] == pytest.approx(useful_first)
    assert figures["lookahead-gain"]["mean_gain"] == pytest.approx(useful_first)


def test_several_devices(tasks: Path, tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    document = run(tasks, "--memory-gb", "4", "--memory-gb", "3", "--workers", "2", "--plot", str(picture))
    assert {p["device"] for p in document["plan"]} == {0, 1}
    assert {p["worker"] for p in document["plan"] if p["device"] == 1} == {2}
    assert max(p["wait_s"] for p in document["plan"]) == 0.0
    assert picture.read_bytes().startswith(b"\x89PNG")
    spoken = CliRunner().invoke(command.schedule, [str(tasks), "--memory-gb", "4", "--memory-gb", "3"])
    assert "device" in spoken.output
    assert "accuracy won" in spoken.output


def test_errors_and_contention_change_times_only(tasks: Path) -> None:
    exact, wrong = run(tasks), run(tasks, "--duration-error", "0.5", "--contention", "0.2")
    assert {p["name"] for p in wrong["plan"]} == {p["name"] for p in exact["plan"]}
    assert [p["ended_s"] for p in wrong["plan"]] != [p["ended_s"] for p in exact["plan"]]
    assert run(tasks, "--duration-error", "0.5", "--contention", "0.2") == wrong


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--memory-gb", "2"], 2, "'campus' is predicted to need 3.00 GB"),
    ],
)
def test_bad_options_are_one_line(tasks: Path, options: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(command.schedule, [str(tasks), *options])
    assert result.exit_code == code
    assert result.output.count("\n") == 1
    assert message in result.output


def test_a_long_list_is_compared_with_fewer_draws_in_seconds(tmp_path: Path) -> None:
    """The goal is 5 s for 300 tasks; six times that means that something has become quadratic."""
    path, many = tmp_path / "tasks.json", [TASKS[0] | {"name": f"t{k}", "duration_s": 1 + k % 97} for k in range(300)]
    path.write_text(json.dumps(many))
    started = time.process_time()
    figures = {f["name"]: f for f in run(path)["policies"]}
    assert time.process_time() - started < 30.0
    assert figures["random"]["draws"] == 11
    assert figures["lookahead"]["mean_wait_s"] <= 1.02 * figures["knapsack"]["mean_wait_s"]


def test_a_short_list_is_drawn_a_many_times(tasks: Path) -> None:
    assert {f["name"]: f["draws"] for f in run(tasks)["policies"]}["random"] == 100


def test_the_plan_shown_is_that_of_the_first_draw(tasks: Path) -> None:
    """With one task at a time in 4 GB the order of the plan is that of the seed's lots."""
    orders = {tuple(p["name"] for p in run(tasks, "--policy", "random", "--seed", str(s))["plan"]) for s in range(6)}
    assert len(orders) > 1
