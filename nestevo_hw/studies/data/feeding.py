"""How samples are handed to a model: one tensor, a list of frames, or several inputs by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.imported import ImportedDetector, ImportedModel
from nestevo_hw.streams.samples.source import Sample
from nestevo_hw.studies.data.dataset import Dataset

Form = Literal["tensor", "list"]
_LONGEST = 200
"""Characters of somebody else's error that are shown."""


class Named(dict[str, Tensor]):
    """Several inputs of one call, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Batches of a dataset as a model takes them."""

    data: Dataset
    form: Form

    def batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Any, int]]:
        """Batches, and how many of each are samples: one of a fixed size is filled up with the last sample."""
        for chunk in batched(samples, self.data.batch):
            if self.form == "list":
                yield [self._values(sample) for sample in chunk if isinstance(sample, Tensor)], len(chunk)
            else:
                for alike in _alike(chunk):
                    yield self._stacked(alike), len(alike)

    def _stacked(self, samples: Sequence[Sample]) -> Any:  # noqa: ANN401 - what a model takes
        if self.data.fixed:
            samples = [*samples, *[samples[-1]] * (self.data.batch - len(samples))]
        if isinstance(samples[0], Mapping):
            named = [sample for sample in samples if isinstance(sample, Mapping)]
            return Named({key: self._by_name(torch.stack([one[key] for one in named])) for key in named[0]})
        stacked = torch.stack([sample for sample in samples if isinstance(sample, Tensor)])
        return self.data.preprocessing.values(stacked)

    def _by_name(self, stacked: Tensor) -> Tensor:
        """One of several inputs: bytes are pixels, all others are as the model takes them."""
        return self.data.preprocessing.values(stacked) if stacked.dtype == torch.uint8 else stacked

    def _values(self, sample: Tensor) -> Tensor:
        return self.data.preprocessing.values(sample[None])[0]


def feed_for(name: str, model: nn.Module, data: Dataset) -> Feed:
    """The form in which a model takes its batches, found by trying; several inputs are handed on by their names.

    Raises:
        InputError: it takes none of them.
    """
    if isinstance(data.calibration.samples[0], Mapping) and not isinstance(model, ImportedModel):
        model.register_forward_pre_hook(_by_name, with_kwargs=True)
    forms: list[Form] = ["tensor", "list"] if data.detection else ["tensor"]
    if data.detection and is_detector(model):
        forms = ["list", "tensor"]
    if isinstance(model, ImportedDetector):
        forms = ["list"]
    refusals = []
    for form in forms:
        feed = Feed(data=data, form=form)
        batch, _ = next(feed.batches(data.calibration.samples))
        try:
            called(name, model, batch)
        except InputError as error:
            refusals.append(error)
            continue
        return feed
    raise refusals[0]


@torch.no_grad()
def called(name: str, model: nn.Module, batch: Any) -> object:  # noqa: ANN401 - what a model takes and gives
    """What a model says of a batch.

    Raises:
        InputError: it does not run, in its own words.
    """
    try:
        return model(batch)
    except NestEvoError as error:
        raise InputError(f"{name}: {error}; see --size, --channels and --batch") from error
    except FAULTS as error:  # whatever somebody's code comes to is told as theirs
        reason = " ".join(told(error).split())
        short = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}..."
        raise InputError(
            f"{name} does not run on {shape_of(batch)} ({short}); see --size, --channels, --pixels and --batch"
        ) from error


def shape_of(batch: Any) -> str:  # noqa: ANN401 - what a model takes
    """A batch in words."""
    if isinstance(batch, Mapping):
        return "inputs " + ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items())
    if isinstance(batch, Tensor):
        return f"inputs of shape {tuple(batch.shape)}"
    return f"a list of {len(batch)} frames, the first of {tuple(batch[0].shape)}"


def _alike(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples in runs of equal shape."""
    run: list[Sample] = []
    for sample in samples:
        if run and _shape(run[-1]) != _shape(sample):
            yield run
            run = []
        run.append(sample)
    yield run


def _shape(sample: Sample) -> object:
    return sample.shape if isinstance(sample, Tensor) else {key: value.shape for key, value in sample.items()}


def _by_name(
    _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook that hands several inputs of one batch to a module as its arguments."""
    if len(args) == 1 and isinstance(args[0], Named):
        return (), dict(args[0])
    return args, kwargs
