"""Names that become files stay in their folder, and two names are two files everywhere."""

from pathlib import Path

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import MOST_BYTES, check_distinct, check_name, file_part
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.taskid import TaskId


@pytest.mark.parametrize("name", ["", "-", "..", ".", "a/b", "a\\b", "a.b", "a b", "a\0", "a\n", "[/red]", "\ud800"])
def test_what_no_file_should_be_called_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^key: got .*; use letters, digits, - and _, it names files$"):
        check_name(name, "key")


@pytest.mark.parametrize("letter", ["a", "ü", "北", "\U00020000"])
def test_the_longest_name_still_makes_files(letter: str, tmp_path: Path) -> None:
    longest = letter * (MOST_BYTES // len(letter.encode()))
    check_name(longest, "key")
    layout = RunLayout(tmp_path)
    for path in (
        layout.sample(999, longest, "before"),
        layout.of_group(999, longest, "generator.safetensors"),
        layout.results / f".{TaskId(999, 'adapt-batch-norm', longest).file_name}.01234567.4194304.tmp",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(ConfigError, match="bytes; use at most 128"):
        check_name(longest + letter, "key")


@pytest.mark.parametrize("pair", [("north", "North"), ("straße", "STRASSE"), ("Å", "\u212b")])
def test_names_that_are_one_file_somewhere_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="key: names must differ, also without regard to case, got"):
        check_distinct(pair, "key")
    with pytest.raises(ConfigError, match=r"key: .* stands for something else in a run; choose another name"):
        check_distinct(pair[:1], "key", taken=pair[1:])


def test_any_text_becomes_a_part_of_a_file_name(tmp_path: Path) -> None:
    for name in ("../../x", "a\0b", "北" * 1000, "[/red]"):
        (tmp_path / f"terminal-{file_part(name)}.svg").touch()
    assert len(list(tmp_path.iterdir())) == 4
