import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.base.documents import parse_json, parse_toml, plain
from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.base.jsonlines import read_lines
from nestevo_hw.base.tensors import read_tensors
from nestevo_hw.base.text import one_line

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something of every kind."""

    name: str
    number: float
    counts: tuple[int, ...] = ()
    scores: dict[str, float] | None = None


def _read_or_refuse(read):
    """What was read, None where it was refused in one line."""
    refusal = ""
    try:
        return read()
    except NestEvoError as error:
        refusal = str(error)
    assert "a place" in refusal
    assert len(one_line(refusal).splitlines()) == 1
    return None


@given(VALUES)
def test_any_json_value_is_read_or_refused(value):
    found = _read_or_refuse(lambda: parse_json(json.dumps(value), Record, "a place"))
    assert found is None or isinstance(found.name, str)


@given(st.builds(Record, name=st.text(), number=st.floats(allow_nan=False, allow_infinity=False),
                 counts=st.lists(st.integers(-(2**60), 2**60)).map(tuple)))  # fmt: skip
def test_what_is_written_is_read(record):
    assert parse_json(json.dumps(plain(record)), Record, "a place") == record


@given(st.text())
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text):
    for parse in (parse_json, parse_toml):
        _read_or_refuse(lambda parse=parse: parse(text, Record, "a place"))


@given(st.text(alphabet="[]{}.,=:\"'\\u \n0123456789eE+-aNIn#_", max_size=200))
@settings(max_examples=300)
def test_near_documents_are_read_or_refused(text):
    for parse in (parse_json, parse_toml):
        _read_or_refuse(lambda parse=parse: parse(text, dict[str, object], "a place"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_refused(number):
    with pytest.raises(NestEvoError, match=r"a place is not valid JSON: .* is no finite number"):
        parse_json(f'{{"name": "a", "number": {number}}}', Record, "a place")


@given(st.floats())
def test_a_number_is_itself_or_refused(number):
    text = json.dumps({"name": "a", "number": number})
    found = _read_or_refuse(lambda: parse_json(text, Record, "a place"))
    assert found is None if not math.isfinite(number) else found.number == number


def test_half_a_character_is_refused():
    with pytest.raises(NestEvoError, match="half of a surrogate pair"):
        parse_json('{"name": "\\ud800", "number": 1}', Record, "a place")
    assert parse_json('{"name": "\\ud83d\\ude00", "number": 1}', Record, "a place").name == "\U0001f600"


@pytest.mark.parametrize("text", ["[" + "a." * 50_000 + "a]", "a." * 50_000 + "a = 1", "a = " + "[" * 50_000])
def test_deep_toml_is_refused_at_once(text):
    message = r"a place is not valid TOML: (nested too deeply|a name of more than 100 parts)"
    with pytest.raises(NestEvoError, match=message):
        parse_toml(text, dict[str, object], "a place")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_as_tensors_and_lines(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "a place"
    path.write_bytes(data)
    _read_or_refuse(lambda: read_tensors(path))
    _read_or_refuse(lambda: list(read_lines(path, Record, growing=True)))
