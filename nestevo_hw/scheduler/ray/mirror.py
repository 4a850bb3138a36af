"""Files of a task on a machine that does not share the run folder: sent with it, and sent back."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.base.files import replacing

Files = dict[str, bytes]
"""Contents by path below the folder, with forward slashes."""


def files_named(payload: Mapping[str, Any], folder: Path) -> list[str]:
    """Files below `folder` that a payload names: a file itself, a folder with everything in it.

    Args:
        payload: JSON object; any string in it that is a path below `folder` counts.
        folder: absolute.

    Returns:
        Paths below `folder`, sorted, with forward slashes.
    """
    found: set[Path] = set()
    for text in _strings(payload):
        path = Path(text)
        if not path.is_relative_to(folder):
            continue
        if path.is_file():
            found.add(path)
        elif path.is_dir():
            found.update(p for p in path.rglob("*") if p.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def rebase(value: Any, source: Path, target: Path) -> Any:  # noqa: ANN401 - any JSON value
    """The same JSON value with paths below `source` moved below `target`."""

    def moved(text: str) -> str:
        path = Path(text)
        return str(target / path.relative_to(source)) if path.is_relative_to(source) else text

    return _mapped(value, moved)


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files below a folder, each whole or not at all."""
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def make_places(payload: Mapping[str, Any], folder: Path) -> None:
    """Make the folders in which the paths that a payload names would lie."""
    for text in _strings(payload):
        if Path(text).is_relative_to(folder) and Path(text) != folder:
            Path(text).parent.mkdir(parents=True, exist_ok=True)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells one version of each file below a folder from another: time, size and inode, by path."""
    return {path.relative_to(folder).as_posix(): version(path) for path in folder.rglob("*") if path.is_file()}


def version(path: Path) -> tuple[int, int, int]:
    """What tells this version of a file from another."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def changed(folder: Path, before: Mapping[str, tuple[int, int, int]]) -> Files:
    """Files below a folder that are new or not as in the snapshot."""
    return {name: (folder / name).read_bytes() for name, now in snapshot(folder).items() if before.get(name) != now}


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value
