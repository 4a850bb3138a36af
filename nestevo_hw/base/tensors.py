"""Named tensors in and out of safetensors files, and the text that stands in their headers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nestevo_hw.base.errors import InputError, LostFileError
from nestevo_hw.base.files import replacing, require_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write a file, whole or not at all; the same tensors and texts give the same bytes.

    Args:
        path: of the file.
        tensors: by name, on any device; none may share memory with another.
        header: texts by name.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(stored, temporary, None if header is None else dict(header))
        _sort_texts(temporary)


def _sort_texts(path: Path) -> None:
    """Put the texts of a header in the order of their names; safetensors writes them in a random one."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
        if (texts := entries.get("__metadata__")) is not None:
            entries["__metadata__"] = dict(sorted(texts.items()))
            file.seek(8)
            file.write(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_header(path: Path) -> dict[str, str]:
    """Header of a file, without its tensors.

    Raises:
        InputError: the file is missing or its header damaged.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_file(path, error=LostFileError)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}); write it again") from error
