"""Documents survive JSON, and whatever is wrong with one is one line with file, place and value."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.documents import (
    NOT_STORED,
    first_difference,
    json_line,
    json_text,
    parse,
    parse_json,
    parse_toml,
    plain,
    read_json,
    read_toml,
    write_json,
)
from nestevo_hw.base.errors import ConfigError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    kind: Literal["Day", "Night"] = "Day"
    size: tuple[int, int] = (1, 2)
    share: float | None = None
    cache: tuple[int, ...] = field(default=(), compare=False, metadata=NOT_STORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = ()
    by_window: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "":
            raise ConfigError("give the tree a name")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.builds(
    Leaf,
    kind=st.sampled_from(["Day", "Night"]),
    size=st.tuples(st.integers(), st.integers()),
    share=st.none() | NUMBERS,
    cache=st.just((1, 2)),
)
TREES = st.builds(
    Tree,
    name=st.text(min_size=1),
    leaves=st.lists(LEAVES).map(tuple),
    by_window=st.dictionaries(st.integers(), NUMBERS),
)


@given(TREES)
def test_a_value_survives_json(tree: Tree) -> None:
    assert parse(plain(tree), Tree, "x") == tree
    assert parse_json(json_text(plain(tree)), Tree, "x") == parse_json(json_line(plain(tree)), Tree, "x") == tree
    assert all("cache" not in leaf for leaf in plain(tree)["leaves"])


def test_a_file_survives(tmp_path: Path) -> None:
    write_json(tmp_path / "below" / "tree.json", plain(Tree(name="ä")))
    assert read_json(tmp_path / "below" / "tree.json", Tree) == Tree(name="ä")
    (tmp_path / "tree.toml").write_text('name = "ä"\n[[leaves]]\nkind = "Night"\n', encoding="utf-8")
    assert read_toml(tmp_path / "tree.toml", Tree) == Tree(name="ä", leaves=(Leaf(kind="Night"),))


def test_unions_and_builtins_are_kinds() -> None:
    assert parse([1, "a"], list[int | str], "x") == [1, "a"]
    assert parse({"name": "a"}, Tree | list[int], "x") == Tree(name="a")


def test_nan_becomes_null_only_when_asked_and_is_never_written(tmp_path: Path) -> None:
    value = {"a": (1.0, math.nan), "b": Leaf(share=math.nan)}
    assert plain(value, nan_to_null=True) == {"a": [1.0, None], "b": {"kind": "Day", "size": [1, 2], "share": None}}
    for bad in (plain(value), plain({"a": math.inf}, nan_to_null=True)):
        for write in (json_text, json_line, lambda document: write_json(tmp_path / "x.json", document)):
            with pytest.raises(ValueError, match="not JSON compliant"):
                write(bad)
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_named() -> None:
    with pytest.raises(TypeError, match="JSON cannot hold a set"):
        plain({"a": [{"x"}]})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "t.json: name: field required"),
        ([1], r"t.json: top level: expected an object (got [1])"),
        ({"name": 3}, "t.json: name: input should be a valid string (got 3)"),
        (
            {"name": "a", "leaves": [{}, {"kind": "Dusk"}]},
            "leaves[1].kind: input should be 'Day' or 'Night' (got 'Dusk')",
        ),
        ({"name": "a", "leaves": [{"size": [1]}]}, "leaves[0].size[1]: field required"),
        ({"name": "a", "by_window": {"x\ny": 1.0}}, "by_window.x y.[key]: input should be a valid integer"),
        ({"name": ["z" * 9] * 99}, "(got ['zzzzzzzzz', 'zzzzzzzzz', 'zzzzzzzzz', ...])"),
        ({"name": {"a" * 99: "b" * 999}}, "a...aaaaaaaaaa"),
    ],
)
def test_what_is_wrong_is_one_line(document: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(document, Tree, "t.json", advice="write it again")
    text = str(caught.value)
    assert message in text
    assert text.endswith("; write it again")
    assert "\n" not in text
    assert len(text) < 300


def test_a_refusal_by_the_value_itself_says_whose_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^x: give the tree a name$"):
        parse({"name": ""}, Tree, "x")


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_json, "{", "is not valid JSON: Expecting property name enclosed in double quotes at column 2"),
        (read_json, '{\n"a" 1}\n', "is not valid JSON: Expecting ':' delimiter at line 2, column 5"),
        (read_json, "", "is not valid JSON: Expecting value at column 1"),
        (read_json, "[" * 100_000, "is not valid JSON: nested too deeply"),
        (read_json, "9" * 5000, "is not valid JSON: Exceeds the limit"),
        (read_json, '{"a": NaN}', "is not valid JSON: NaN is no finite number"),
        (read_json, '{"a": [-Infinity]}', "is not valid JSON: -Infinity is no finite number"),
        (read_json, '{"a": 1e999}', "is not valid JSON: 1e999 is no finite number"),
        (read_toml, "\na" + ".a" * 100_000 + " = 1", "is not valid TOML: a name of more than 100 parts (at line 2)"),
        (read_toml, "x = '" + "x" * 1_000_000 + "'", "is not valid TOML: it is larger than 1 MB"),
        (read_toml, "a = [", "is not valid TOML: Invalid value (at end of document)"),
        (read_toml, "a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        (read_toml, "a = " + "[" * 100_000, "is not valid TOML: nested too deeply"),
    ],
)
def test_bad_syntax_is_one_line(tmp_path: Path, read: Callable[..., Any], text: str, message: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(path, dict[str, Any], advice="write it again", error=ConfigError)
    assert str(caught.value).startswith(f"{path} {message}")
    assert str(caught.value).endswith("; write it again")


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_files_that_cannot_be_read_are_one_line(tmp_path: Path, read: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"^no file .*/gone; check the path$"):
        read(tmp_path / "gone", Tree)
    with pytest.raises(ConfigError, match=r"^no file .*/gone; write one$"):
        read(tmp_path / "gone", Tree, advice="write one", error=ConfigError)
    with pytest.raises(InputError, match=r"^cannot read .*: Is a directory; check the path$"):
        read(tmp_path, Tree)
    path = tmp_path / "x"
    path.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(InputError, match=r"^.*/x is not UTF-8 text: invalid start byte at byte 10$"):
        read(path, Tree)
    with pytest.raises(InputError, match=r"^cannot read .*/x/y: Not a directory; check the path$"):
        read(path / "y", Tree)


def test_toml_texts() -> None:
    assert parse_toml("a = [1, 2]", dict[str, tuple[int, ...]], "x") == {"a": (1, 2)}


@pytest.mark.parametrize(
    ("there", "here", "text"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b.1 is 2 there and 3 here"),
        ({"a": {"b": 8}}, {"a": None}, "a.b is 8 there and None here"),
        ({"a": []}, {"a": None}, "a is [] there and None here"),
        ({}, {"a": "x"}, "a is None there and 'x' here"),
        ({"a": [1]}, {"a": [1, 2]}, "a.1 is None there and 2 here"),
    ],
)
def test_the_first_difference_is_named(there: object, here: object, text: str) -> None:
    assert first_difference(there, here) == text


def test_help_needs_no_codec() -> None:
    """pydantic takes a third of a second to import, and --help is to be instant."""
    code = "import sys, nestevo_hw.cli; print({'pydantic', 'torch', 'scipy', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A number of each kind, a truth value and numbers as keys."""

    on: bool = False
    share: float = 0.0
    count: int = 0
    by_window: Mapping[int, float] = field(default_factory=dict)


def test_a_text_is_no_number_and_neither_is_a_truth_value() -> None:
    found = parse({"on": True, "share": 1, "count": 2.0, "by_window": {"3": 0.5}}, Switched, "a place")
    assert found == Switched(on=True, share=1.0, count=2, by_window={3: 0.5})
    for name, values in {"on": ("off", "yes", 1, 0.0), "share": ("0.5", True), "count": ("2", True, 2.5)}.items():
        for value in values:
            with pytest.raises(InputError, match=rf"a place: {name}: input should be a valid .*\(got {value!r}\)"):
                parse({name: value}, Switched, "a place")
