"""Which weights two deployed models share, so that a terminal is sent differences only."""

from collections.abc import Mapping

import onnx

from nestevo_hw.wire.delta import Shared, make_delta

LEAST_BYTES = 64
"""Of a tensor that is worth a place of its own in a package."""
_WORD = 4


def model_delta(old: bytes, new: bytes) -> bytes:
    """The package that makes one ONNX file of another."""
    before, after = _places(old), _places(new)
    shared = [
        Shared(old=before[name][0], new=first, count=count)
        for name, (first, count) in after.items()
        if name in before and before[name][1] == count
    ]
    return make_delta(old, new, sorted(shared, key=lambda s: s.new))


def _places(data: bytes) -> Mapping[str, tuple[int, int]]:
    """First byte and number of bytes of each tensor's numbers in an ONNX file, in the file's order."""
    found, after = dict[str, tuple[int, int]](), 0
    for tensor in onnx.load_from_string(data).graph.initializer:
        raw = tensor.raw_data
        if len(raw) < LEAST_BYTES or len(raw) % _WORD:
            continue
        first = data.find(raw, after)
        if first >= 0:
            found[tensor.name], after = (first, len(raw)), first + len(raw)
    return found
