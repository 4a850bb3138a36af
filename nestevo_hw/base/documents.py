"""JSON and TOML documents in and out of typed values; whatever is wrong with one is said in one line."""

import json
import math
import re
import reprlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.files import read_text, write_text

if TYPE_CHECKING:
    from typing_extensions import TypeForm

NOT_STORED = {"stored": False}
"""Metadata of a dataclass field that stays out of documents; to be read back it needs a default."""
_LONGEST_NAME = 80
_DEEPEST = 12
"""Characters of a name, and names of a place, that messages show."""
_MOST_TOML, _MOST_PARTS = 1_000_000, 100
_LONG_NAME = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]+[ \t]*\.[ \t]*){{{_MOST_PARTS}}}")
_AS_THEY_ARE = ("default", "metadata", "keys_schema")
"""Parts of a schema: JSON has numbers that are keys as texts."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Maybe half a character, which JSON can write and no file can hold."""
_SHORT = reprlib.Repr(maxlevel=2, maxdict=2, maxlist=3, maxtuple=3, maxstring=60, maxlong=40, maxother=60)


def read_json[T](path: Path, kind: "TypeForm[T]", *, advice: str = "", error: type[NestEvoError] = InputError) -> T:
    """The value in a JSON file.

    Args:
        path: of the file.
        kind: what it must hold: a dataclass, a union, or a builtin such as `dict[str, Any]`.
        advice: what to do about a bad file, appended to every message.
        error: class to raise.

    Raises:
        NestEvoError: `error`, with the file, the line and column or the field, and what was got, in one line: the file
            is missing, unreadable, not UTF-8, not JSON, or holds something else than `kind`.
    """
    return parse_json(read_text(path, advice=advice, error=error), kind, str(path), advice=advice, error=error)


def read_toml[T](path: Path, kind: "TypeForm[T]", *, advice: str = "", error: type[NestEvoError] = InputError) -> T:
    """The value in a TOML file; otherwise as `read_json`."""
    return parse_toml(read_text(path, advice=advice, error=error), kind, str(path), advice=advice, error=error)


def parse_json[T](
    text: str,
    kind: "TypeForm[T]",
    source: str,
    *,
    advice: str = "",
    error: type[NestEvoError] = InputError,
) -> T:
    """The value in a JSON text.

    Raises:
        NestEvoError: `error`, as `read_json`; `source` says whose text it is.
    """
    return parse(_decoded("JSON", _json, text, source, advice, error), kind, source, advice=advice, error=error)


def parse_toml[T](
    text: str,
    kind: "TypeForm[T]",
    source: str,
    *,
    advice: str = "",
    error: type[NestEvoError] = InputError,
) -> T:
    """The value in a TOML text; otherwise as `parse_json`."""
    return parse(_decoded("TOML", _load_toml, text, source, advice, error), kind, source, advice=advice, error=error)


def parse[T](
    document: object,
    kind: "TypeForm[T]",
    source: str,
    *,
    advice: str = "",
    error: type[NestEvoError] = InputError,
) -> T:
    """The value that decoded JSON or TOML stands for; lists become tuples and objects dataclasses where `kind` says so.

    Raises:
        NestEvoError: `error`, with `source`, the dotted place of the first wrong field and what was got; or what the
            dataclasses themselves raise about impossible values, with `source`.
    """
    try:
        value: T = _validator(cast(Any, kind)).validate_python(document)
        return value
    except ValidationError as problem:
        raise _failure(error, f"{source}: {_first(problem, document)}", advice) from problem
    except NestEvoError as problem:
        raise type(problem)(f"{source}: {problem}") from problem


def forbid_unknown_keys(kind: type) -> None:
    """Have a dataclass and all that its fields hold refuse unknown keys, before it is first read."""
    for section in _sections(kind):
        # pydantic reads this attribute when it builds the reader of a class.
        setattr(section, "__pydantic_config__", ConfigDict(extra="forbid"))  # noqa: B010


def plain(value: Any, *, nan_to_null: bool = False) -> Any:  # noqa: ANN401 - any value in, any JSON value out
    """A value as JSON holds it, the inverse of `parse`: dataclasses as objects, tuples as lists, keys as text.

    Args:
        value: a dataclass, mapping, list, tuple, text, path, number, truth value or None, nested at will.
        nan_to_null: write NaN, which JSON cannot hold, as null: for values of which NaN means "not measured".

    Raises:
        TypeError: something else is in it.
    """
    if isinstance(value, float):
        return None if nan_to_null and math.isnan(value) else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry, nan_to_null=nan_to_null) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, nan_to_null=nan_to_null) for entry in value]
    if is_dataclass(value):
        return {
            f.name: plain(getattr(value, f.name), nan_to_null=nan_to_null)
            for f in fields(value) if f.metadata.get("stored", True)
        }  # fmt: skip
    raise TypeError(f"JSON cannot hold a {type(value).__name__}: {_SHORT.repr(value)}")


def first_difference(there: Any, here: Any) -> str:  # noqa: ANN401 - any JSON value
    """Where two JSON objects first differ, by its dotted name and with both values; "" where they are equal."""
    old, new = _leaves(there, ""), _leaves(here, "")
    different = (place for place in dict.fromkeys((*old, *new)) if old.get(place) != new.get(place))
    return next((f"{p} is {_SHORT.repr(old.get(p))} there and {_SHORT.repr(new.get(p))} here" for p in different), "")


def json_text(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """An indented JSON text.

    Raises:
        ValueError: NaN or an infinity in it, which is no JSON; whoever means "not measured" says None.
    """
    return json.dumps(document, indent=2, allow_nan=False)


def json_line(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """A JSON text on one line, without its end; otherwise as `json_text`."""
    return json.dumps(document, allow_nan=False)


def write_json(path: Path, document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a JSON document to `path`, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
        ValueError: as `json_text`.
    """
    write_text(path, json_text(document) + "\n")


def _sections(kind: type) -> Iterator[type]:
    """A dataclass and all that its fields hold."""
    yield kind
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint), *(inner for arg in get_args(hint) for inner in get_args(arg))):
            if is_dataclass(part) and isinstance(part, type):
                yield from _sections(part)


def _leaves(value: Any, place: str) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Values that hold no others, by dotted name."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found: dict[str, Any] = {}
    for key, entry in inner:
        found |= _leaves(entry, f"{place}.{key}" if place else str(key))
    return found or ({place: value} if place else {})


@cache
def _validator(kind: Any) -> SchemaValidator:  # noqa: ANN401 - any type
    return SchemaValidator(_exact(TypeAdapter(kind).core_schema))


def _exact(schema: Any) -> Any:  # noqa: ANN401 - a schema, or part of one
    """The same schema, in which a text is no number, and neither of them a truth value."""
    if isinstance(schema, list):
        return [_exact(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: part if key in _AS_THEY_ARE else _exact(part) for key, part in schema.items()}
    if found.get("type") in ("bool", "float"):
        return found | {"strict": True}
    # A whole number may be written as 2.0.
    return core_schema.no_info_before_validator_function(_whole, found) if found.get("type") == "int" else found


def _whole(value: object) -> object:
    if isinstance(value, str | bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _decoded(
    syntax: str, load: Callable[[str], Any], text: str, source: str, advice: str, error: type[NestEvoError]
) -> Any:  # noqa: ANN401 - any JSON or TOML value
    try:
        return load(text)
    except RecursionError as problem:
        raise _failure(error, f"{source} is not valid {syntax}: nested too deeply", advice) from problem
    except ValueError as problem:
        raise _failure(error, f"{source} is not valid {syntax}: {_syntax(problem)}", advice) from problem


def _load_toml(text: str) -> Any:  # noqa: ANN401 - any TOML value
    """What `tomllib` makes of a text, unless that would take it minutes: its time grows with the square of a name."""
    if len(text) > _MOST_TOML:
        raise ValueError(f"it is larger than {_MOST_TOML // 1_000_000} MB")
    if (found := _LONG_NAME.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a name of more than {_MOST_PARTS} parts (at line {line})")
    return tomllib.loads(text)


def _json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as problem:
            raise ValueError("half of a surrogate pair in a text") from problem
    return value


def _finite(number: str) -> float:
    """A number of a JSON text; NaN, Infinity and what is too large to be another number are none."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{_SHORT.repr(number)[1:-1]} is no finite number")
    return value


def _syntax(problem: ValueError) -> str:
    """What is wrong, with line and column; the column alone in a text of one line, such as one of JSON lines."""
    if not isinstance(problem, json.JSONDecodeError):
        return str(problem)
    line = f"line {problem.lineno}, " if "\n" in problem.doc.strip() else ""
    return f"{problem.msg.removesuffix(' at')} at {line}column {problem.colno}"


def _first(problem: ValidationError, document: object) -> str:
    """Place, message and value of the first thing that is wrong."""
    first = problem.errors(include_url=False)[0]
    missing = first["type"] == "missing"
    place = _place(document, first["loc"], missing=missing) or "top level"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"].endswith(("dataclass_type", "model_type", "dict_type")):
        message = "expected an object"
    elif first["type"] in ("tuple_type", "list_type"):
        message = "expected a list"
    elif first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        message = "there is no such key"
    got = "" if missing else f" (got {_SHORT.repr(first['input'])})"
    return " ".join(f"{place}: {message}{got}".split())


def _place(document: object, steps: Sequence[int | str], *, missing: bool) -> str:
    """Where in a document something is: its names and indices, without those of kinds that a value may have."""
    names = ""
    for step in steps[:_DEEPEST]:
        if isinstance(document, Mapping) and (step in document or (missing and step == steps[-1])):
            names, document = f"{names}.{_brief(str(step))}", document.get(step)
        elif step == "[key]":
            names += ".[key]"
        elif isinstance(step, int) and isinstance(document, Sequence):
            names, document = f"{names}[{step}]", document[step] if step < len(document) else None
    return names.removeprefix(".")


def _brief(name: str) -> str:
    """A name of a document, of which a whole book may be in its stead."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def _failure(error: type[NestEvoError], text: str, advice: str) -> NestEvoError:
    return error(f"{text}; {advice}" if advice else text)
