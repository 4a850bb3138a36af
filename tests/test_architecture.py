"""The direction in which rooms import from one another, as docs/architecture.md draws it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nestevo_hw"
LEVELS = (
    ("cli", "__main__"),
    ("commands",),
    ("studies", "server", "testing"),
    ("evolution",),
    ("report",),
    ("scheduler", "profiler"),
    ("tasks", "terminals"),
    ("crossbar", "models"),
    ("streams",),
    ("pages", "wire"),
    ("base",),
)
"""Rooms from the top down; each may import from those below it, and none from one beside it."""
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
ONLY_IN = {
    "aihwkit": "crossbar", "ray": "scheduler/ray", "jinja2": "pages", "triton": "crossbar/gpu", "fastapi": "server",
    "uvicorn": "server", "sqlite3": "server", "httpx": "terminals",
}  # fmt: skip
"""Libraries that one room hides from all others."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Names that a file imports, those inside functions and for type checkers included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def needed_to_load(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports while it is loaded itself."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nestevo_hw"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def room(module: str) -> str:
    """The room that a module stands in; "" for the package itself."""
    return [*module.split("."), ""][1]


def test_every_room_has_a_place():
    assert {room(name) for name in MODULES} - {""} == set(LEVEL)


def test_no_import_runs_up():
    up = [
        f"{name} -> {target}"
        for name, path in MODULES.items()
        for target in imports(path)
        if target.startswith("nestevo_hw.") and room(name) not in ("", "__main__", room(target))
        and LEVEL[room(target)] <= LEVEL[room(name)]
    ]  # fmt: skip
    assert not up


def test_there_is_no_circle():
    graph = {name: set(needed_to_load(path)) & set(MODULES) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize(("library", "place"), ONLY_IN.items())
def test_a_library_stays_in_its_room(library, place):
    users = [path for path in MODULES.values() if any(n.split(".")[0] == library for n in imports(path))]
    assert users
    assert all(path.is_relative_to(PACKAGE / place) for path in users)


def test_the_page_draws_the_same_direction():
    drawn = re.search(r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.DOTALL)
    assert drawn is not None
    levels = [tuple(re.findall(r"[a-z_]+", line.split("  ")[0])) for line in drawn[1].splitlines()]
    assert levels == [tuple(r for r in rooms if not r.startswith("__")) for rooms in LEVELS]
