"""A new model as what differs from an older one that the terminal has.

Weights that two files share by place are sent as the difference of their bit patterns, which is small where a training
moved them little; everything else is sent as it is. Differences lie byte by byte (all lowest bytes first) and are
compressed together by LZMA.
"""

import hashlib
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError

MAGIC = b"nestevo-hw delta 1\n"
MOST_BYTES = 2**31
"""Of a model; larger ones fit no ONNX file."""
_WORD, _PRESET = 4, 6
_LENGTH = 8
"""Bytes of a length in a package."""
Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Shared:
    """Bytes in the old file that stand for as many in the new one."""

    old: int
    """First byte."""
    new: int
    count: int
    """A multiple of four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    old_sha256: str
    new_sha256: str
    old_bytes: int
    new_bytes: int
    shared: tuple[tuple[int, int, int], ...]


def make_delta(old: bytes, new: bytes, shared: Sequence[Shared]) -> bytes:
    """A package from which `apply_delta` makes `new` out of `old`.

    Args:
        old: file that the terminal has.
        new: file that it is to have.
        shared: ascending in the new file, without overlap.
    """
    header = _Header(
        old_sha256=hashlib.sha256(old).hexdigest(), new_sha256=hashlib.sha256(new).hexdigest(),
        old_bytes=len(old), new_bytes=len(new), shared=tuple((s.old, s.new, s.count) for s in shared),
    )  # fmt: skip
    moved = [_words(new, s.new, s.count) - _words(old, s.old, s.count) for s in shared]
    signed = np.concatenate([*moved, np.empty(0, np.uint32)]).view(np.int32)
    folded = ((signed << 1) ^ (signed >> 31)).view(np.uint8).reshape(-1, _WORD)
    own = b"".join(new[first:last] for first, last in _gaps(header))
    text = json_line(plain(header)).encode()
    body = len(text).to_bytes(_LENGTH, "little") + text + own + folded.T.tobytes()
    return MAGIC + lzma.compress(body, preset=_PRESET)


def apply_delta(old: bytes, package: bytes) -> bytes:
    """The new file.

    Raises:
        InputError: the package is damaged, of another old file, or gives another file than it says.
    """
    header, body = _opened(package)
    if len(old) != header.old_bytes or hashlib.sha256(old).hexdigest() != header.old_sha256:
        raise InputError("the delta is of another model than the one that is here; fetch the whole model")
    new = bytearray(header.new_bytes)
    place = 0
    for first, last in _gaps(header):
        new[first:last] = body[place : place + last - first]
        place += last - first
    folded = np.frombuffer(body, np.uint8, offset=place).reshape(_WORD, -1).T
    zigzag = np.ascontiguousarray(folded).view(np.uint32).ravel()
    moved, at = (zigzag >> 1) ^ (0 - (zigzag & 1)), 0
    for s in (Shared(*each) for each in header.shared):
        words = moved[at : at + s.count // _WORD]
        new[s.new : s.new + s.count] = (_words(old, s.old, s.count) + words).tobytes()
        at += len(words)
    if hashlib.sha256(new).hexdigest() != header.new_sha256:
        raise InputError("the delta does not give the model that it says; fetch the whole model")
    return bytes(new)


def _opened(package: bytes) -> tuple[_Header, memoryview]:
    """Header and body, whose lengths fit one another."""
    if not package.startswith(MAGIC):
        raise InputError("not a delta package; fetch the whole model")
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=2**28)
    try:
        body = memoryview(reader.decompress(package[len(MAGIC) :], max_length=MOST_BYTES))
        length = int.from_bytes(body[:_LENGTH], "little")
        header = parse_json(bytes(body[_LENGTH : _LENGTH + length]).decode(), _Header, "delta")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError("the delta is damaged; fetch it again") from error
    body = body[_LENGTH + length :]
    if not reader.eof or not _fits(header) or len(body) != header.new_bytes:
        raise InputError("the delta is damaged; fetch it again")
    return header, body


def _fits(header: _Header) -> bool:
    """Whether the shared parts lie within both files, in order; sizes are sane."""
    last = 0
    for old, new, count in header.shared:
        if count < 0 or count % _WORD or old < 0 or new < last or old + count > header.old_bytes:
            return False
        last = new + count
    return last <= header.new_bytes <= MOST_BYTES


def _gaps(header: _Header) -> Iterator[tuple[int, int]]:
    """Parts of the new file that no old bytes stand for."""
    last = 0
    for _, new, count in header.shared:
        yield last, new
        last = new + count
    yield last, header.new_bytes


def _words(data: bytes, first: int, count: int) -> Words:
    return np.frombuffer(data, np.dtype("<u4"), count=count // _WORD, offset=first).astype(np.uint32)
