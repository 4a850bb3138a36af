"""Stages as they run: a session each, on all of their input or on crops, and what they gave last."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.crops.geometry import Crop
from nestevo_hw.models.onnx.crops.spans import Rect, Span, whole
from nestevo_hw.terminals.dynamic.plan import Changed
from nestevo_hw.terminals.dynamic.preparing import StageModel
from nestevo_hw.terminals.runtime import Frame

Values = dict[str, NDArray[Any]]
"""Tensors of the whole model by name."""


def open_session(model: bytes, threads: int, name: str) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session on the CPU whose threads sleep between calls: in a chain, waiting ones would disturb working ones.

    Raises:
        InputError: ONNX Runtime cannot open it.
    """
    # Otherwise the import starts a telemetry thread and opens a database in the user's cache (1.31).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InputError(f"{name}: ONNX Runtime cannot open it; build the supernet again") from error


def as_floats(frame: Frame, out: NDArray[np.float32]) -> None:
    """Write (H, W, 3) bytes as floats in 0..1, channels first, into (3, H, W)."""
    np.divide(frame.transpose(2, 0, 1), np.float32(255), out=out)


class Stage:
    """One part of the model.

    Args:
        model: of it.
        threads: that one operator may compute on.
    """

    def __init__(self, model: StageModel, threads: int) -> None:
        self.model, self.name = model, model.name
        self._session = open_session(model.model, threads, model.name)
        self._crops: dict[tuple[Rect | None, ...], Crop | None] = {}
        self._own_outputs = list(model.gives)
        self._ways: dict[str, Any] = {}
        self.scales: dict[str, float] = {}
        """Root mean square of its outputs, as last noted."""

    def add_way(self, name: str, model: bytes, threads: int) -> None:
        """Have it know a cheaper way to make about the same of the same crops: a graph with its inputs and outputs."""
        self._ways[name] = open_session(model, threads, f"{self.name}, {name}")

    def dense(self, values: Values, way: str = "") -> Values:
        """What it gives, by common names."""
        return self._run({own: values[name] for own, name in self.model.takes.items()}, way)

    def note_scales(self, given: Values) -> None:
        """Remember how large its outputs are, by which small changes of them are told."""
        for name, value in given.items():
            self.scales[name] = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))

    def crop_for(self, changed: Changed) -> Crop | None:
        """The crop that gives what a change of its input changes; one without outputs if nothing does.

        Returns:
            None where all of it has to be run.
        """
        network, takes = self.model.network, self.model.takes
        if network is None:
            return None
        key = tuple(changed.get(name) for name in takes.values())
        if key not in self._crops:
            if len(self._crops) >= _REMEMBERED:
                self._crops.clear()
            gives = network.changed({own: changed[name] for own, name in takes.items() if name in changed})
            self._crops[key] = network.crop(gives) if gives else _NOTHING
        return self._crops[key]

    def region(self, values: Values, crop: Crop, tolerance: float | None, way: str = "") -> tuple[Changed, int]:
        """Run it on a crop, and put what changed into its outputs of before, in place.

        Args:
            values: of before; inputs have been brought up to date.
            crop: of `crop_for`.
            tolerance: changes of its outputs within so many times their root mean square are dropped: there they stay
                as they were, as whatever took them has seen them. None: none are.
            way: one that it knows; "": the stage as it is.

        Returns:
            Where its outputs changed, and the bytes that it took and gave.
        """
        fed = {
            own: np.ascontiguousarray(values[self.model.takes[own]][rect.slices]) for own, rect in crop.takes.items()
        }
        made = self._run(fed, way)
        changed = dict[str, Rect]()
        for own, place in crop.gives.items():
            name = self.model.gives[own]
            new, old = made[name][crop.from_[own].slices], values[name][place.slices]
            within: Rect | None = whole((new.shape[-2], new.shape[-1]))
            if tolerance is not None:
                within = beyond(new, old, tolerance * self.scales.get(name, 0.0))
            if within is not None:
                old[within.slices] = new[within.slices]
                changed[name] = within.moved(-place.rows.start, -place.columns.start)
        return changed, sum(value.nbytes for value in (*fed.values(), *made.values()))

    def _run(self, fed: Mapping[str, NDArray[Any]], way: str) -> Values:
        try:
            session = self._ways[way] if way else self._session
            given = session.run(self._own_outputs, fed)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(f"{self.name} fails on its input: {type(error).__name__}: {error}") from error
        return dict(zip(self.model.gives.values(), given, strict=True))


_REMEMBERED = 4096
"""Crops: a scene's changes come back to the same tiles."""
_NOTHING = Crop(takes={}, gives={}, from_={}, share=0.0)


def beyond(new: NDArray[Any], old: NDArray[Any], least: float) -> Rect | None:
    """The least rectangle around changes of more than `least`; None without any."""
    large = (np.abs(new - old) > least).any(axis=tuple(range(new.ndim - 2)))
    rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
    if not len(rows):
        return None
    return Rect(Span(int(rows[0]), int(rows[-1]) + 1), Span(int(columns[0]), int(columns[-1]) + 1))


def bytes_of(stage: Stage, values: Values) -> int:
    """Of all that a stage takes and gives."""
    names = (*stage.model.takes.values(), *stage.model.gives.values())
    return sum(values[name].nbytes for name in names if name in values)
