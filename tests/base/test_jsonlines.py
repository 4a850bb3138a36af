"""Records survive their journal, whenever its writer is killed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nestevo_hw.base.errors import ConfigError, InputError, OutputError
from nestevo_hw.base.jsonlines import Journal, append_line, read_journal, read_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: float | str = 0.0


IDENTITY = {"seed": 0, "size": (2, 3), "device": {"bits": 8}}
POINTS = [Point(x=1), Point(x=2, y="a\nb"), Point(x=3, y=0.1)]


def _journal(folder: Path, *, resume: bool = False, replace: bool = False, **changes: Any) -> Journal[Point]:
    return Journal(
        folder / "j.jsonl", Point, {**IDENTITY, **changes}, holds="points", resume=resume, replace=replace
    )  # fmt: skip


def _written(folder: Path) -> Path:
    journal = _journal(folder)
    for point in POINTS:
        journal.append(point)
    return folder / "j.jsonl"


def test_a_killed_writer_loses_at_most_the_line_in_the_making(tmp_path: Path) -> None:
    """Cut anywhere, the journal goes on with all lines that were whole, and ends as it would have ended."""
    path = _written(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = max(whole[:length].count(b"\n") - 1, 0)
        journal = _journal(tmp_path, resume=True)
        assert journal.records == POINTS[:kept]
        for point in POINTS[kept:]:
            journal.append(point)
        assert path.read_bytes() == whole
    assert read_journal(path, Point) == ({"seed": 0, "size": [2, 3], "device": {"bits": 8}}, POINTS)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    assert read_journal(path, Point)[1] == POINTS[:2]
    assert path.read_bytes() == before
    path.write_bytes(b'{"ident')
    assert read_journal(path, Point) == (None, [])


def test_other_work_is_refused_with_what_differs(tmp_path: Path) -> None:
    before = _written(tmp_path).read_bytes()
    for modes in ({"resume": True}, {"replace": True}, {}):
        with pytest.raises(
            ConfigError, match=r"points of another configuration \(device\.bits is 8 there and 7 here\)"
        ):
            _journal(tmp_path, device={"bits": 7}, **modes)
    assert (tmp_path / "j.jsonl").read_bytes() == before


def test_records_are_not_thrown_away_unasked(tmp_path: Path) -> None:
    path = _written(tmp_path)
    with pytest.raises(ConfigError, match="holds points already; add --resume to go on, or choose another --out"):
        _journal(tmp_path)
    assert _journal(tmp_path, replace=True).records == []
    assert read_journal(path, Point)[1] == []
    assert _journal(tmp_path).records == []  # nothing to lose


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (0, "{}", r"line 1: identity: field required; delete the file"),
        (1, "{", r"line 2 is not valid JSON: .* at column 2; delete this line"),
        (2, '{"x": "a"}', r"line 3: x: input should be a valid integer.*\(got 'a'\); delete this line"),
        (3, "[]", r"line 4: top level: expected an object"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, number: int, line: str, message: str) -> None:
    path = _written(tmp_path)
    lines = path.read_text().splitlines()
    lines[number] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"j\.jsonl, {message}"):
        _journal(tmp_path, resume=True)


def test_lines_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for value in (1, {"a": (2, 3)}):
        append_line(path, value)
    path.write_text(path.read_text() + "\n7")
    expected = [(f"{path}, line 1", 1), (f"{path}, line 2", {"a": [2, 3]})]
    assert list(read_lines(path, object, growing=True)) == expected
    assert list(read_lines(path, object, growing=False)) == [*expected, (f"{path}, line 4", 7)]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*: Is a directory; choose another place"):
        append_line(tmp_path, {})
    if Path("/dev/full").exists():  # a device that is always full
        with pytest.raises(OutputError, match=r"cannot write /dev/full: No space left on device"):
            append_line(Path("/dev/full"), {"a": "x" * 100_000})
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_line(tmp_path / "x", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["hello", "[1, 2", "\0\0"])
def test_a_foreign_file_without_a_whole_line_is_not_written_over(tmp_path, text):
    path = tmp_path / "journal.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="none of this program's journals"):
        Journal(path, dict, {"a": 1}, holds="scores", resume=True)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", '{"iden', '{"identity": {"a"'])
def test_a_torn_first_line_is_begun_anew(tmp_path, text):
    path = tmp_path / "journal.jsonl"
    path.write_text(text)
    Journal(path, dict, {"a": 1}, holds="scores", resume=True)
    assert path.read_text() == '{"identity": {"a": 1}}\n'


def test_work_that_failed_before_its_first_record_leaves_the_folder_to_other_work(tmp_path):
    _journal(tmp_path)
    other = _journal(tmp_path, seed=99)
    other.append(POINTS[0])
    assert _journal(tmp_path, resume=True, seed=99).records == [POINTS[0]]
    with pytest.raises(ConfigError, match="of another configuration"):
        _journal(tmp_path)
