"""Collects samples into a journal, so that a stopped collection goes on where it stood."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.base.errors import ConfigError, InputError, MissingFileError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal, read_journal
from nestevo_hw.base.text import pasteable
from nestevo_hw.profiler.gpu_context import target_of
from nestevo_hw.profiler.samples import Sample, measure, normalised
from nestevo_hw.profiler.specs import TrainingSpec, spread_specs

SAMPLES = "samples.jsonl"
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What is to be measured."""

    samples: int = 200
    """To learn from."""
    held_out: int = 60
    """Of architectures nobody learns from, to judge by."""
    passes: int = 2
    """Times each sample is timed, one round after the other, so that no sample falls into one slow moment whole."""
    seed: int = 0
    device: torch.device = _CPU
    """Where they train."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.held_out < 0 or self.passes < 1:
            raise ConfigError(
                "need samples >= 1, held_out >= 0 and passes >= 1, "
                f"got {self.samples}, {self.held_out} and {self.passes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A sample by its place in the plan."""

    index: int
    """Among the samples to learn from, or among those held out."""
    sample: Sample


class SampleFile:
    """Samples by their place in the plan, kept in a journal for this machine and seed.

    Args:
        folder: of the profile.
        seed: of the plan.
        resume: go on with what is there.
        device: where tasks are measured.

    Raises:
        ConfigError: the folder holds another machine's or seed's samples, some that are not to be resumed, or none to
            resume.
        InputError: the file is damaged.
    """

    def __init__(self, folder: Path, seed: int, *, resume: bool, device: torch.device = _CPU) -> None:
        self.folder, identity = folder, {"machine": machine(device), "seed": seed}
        if resume and not (folder / SAMPLES).is_file():
            raise ConfigError(f"{folder} holds no profile to resume; leave --resume out")
        self._journal = Journal(folder / SAMPLES, Measured, identity, holds="samples", resume=resume)
        self.samples = _latest(self._journal.records)

    def keep(self, place: tuple[bool, int], sample: Sample) -> None:
        """Remember a sample, measured anew or once more, at once and for good."""
        self.samples[place] = sample
        self._journal.append(Measured(index=place[1], sample=sample))


def read_samples(folder: Path) -> tuple[dict[str, Any], list[Sample]]:
    """What is known about the machine, and all samples of a profile's folder.

    Raises:
        InputError: there are none, or the file is damaged.
    """
    path = folder / SAMPLES
    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist; measure samples with `nestevo-hw profile --out {pasteable(folder)}`"
        )
    identity, records = read_journal(path, Measured)
    if identity is None or not records:
        raise InputError(f"{path} holds no samples; go on with `nestevo-hw profile --out {pasteable(folder)} --resume`")
    return dict(identity["machine"]), normalised(list(_latest(records).values()))


def _latest(records: Iterable[Measured]) -> dict[tuple[bool, int], Sample]:
    """Samples by place; a place that was measured again has a later record with all of its timings."""
    return {(record.sample.held_out, record.index): record.sample for record in records}


def collect(
    plan: Collection, file: SampleFile, *, budget_s: float | None = None, advance: Callable[[str], None] | None = None
) -> bool:
    """Measure what is still missing.

    Args:
        plan: how much.
        file: what is there already, and where new samples go.
        budget_s: stop before this time is over; None for no limit.
        advance: called after each measurement with a few words about it.

    Returns:
        Whether all of the plan is done.

    Raises:
        StoppedError: stopped by Ctrl-C or a signal; what was measured is kept.
    """
    whole = plan.passes * (plan.samples + plan.held_out)
    with resumable(file.folder, lambda: f"{whole - outstanding(plan, file)} of {whole} measurements"):
        return _measure_all(plan, file, budget_s, advance)


def _measure_all(
    plan: Collection, file: SampleFile, budget_s: float | None, advance: Callable[[str], None] | None
) -> bool:
    began, longest, target = time.monotonic(), 0.0, target_of(plan.device)
    for number in range(plan.passes):
        for place, spec in _order(plan):
            known = file.samples.get(place)
            if known is not None and len(known.timings) > number:
                continue
            started = time.monotonic()
            if budget_s is not None and started - began + longest > budget_s:
                return False
            sample = measure(
                known.spec if known else spec, target=target, device=plan.device, seed=plan.seed, held_out=place[0],
                again=known,
            )  # fmt: skip
            file.keep(place, sample)
            longest = max(longest, time.monotonic() - started)
            if advance is not None:
                advance(f"{sample.spec.architecture}, {sample.spec.learning}, batch {sample.spec.batch_size}")
    return True


def outstanding(plan: Collection, file: SampleFile) -> int:
    """Measurements still to be made."""
    places = [place for place, _ in _order(plan)]
    done = (min(len(file.samples[p].timings), plan.passes) for p in places if p in file.samples)
    return plan.passes * len(places) - sum(done)


def bfloat16_is_native(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 rather than imitating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def machine(device: torch.device) -> dict[str, Any]:
    """What times depend on."""
    gpu = {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda} if device.type == "cuda" else {}
    return gpu | {
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": bfloat16_is_native(device),
    }


def _order(plan: Collection) -> Iterator[tuple[tuple[bool, int], TrainingSpec]]:
    """Both sorts of tasks, mixed evenly, so that a collection cut short has some of each."""
    native, gpu = bfloat16_is_native(plan.device), plan.device.type == "cuda"
    streams = {h: spread_specs(plan.seed, held_out=h, bfloat16=native, gpu=gpu) for h in (False, True)}
    places = [((False, i), (i + 0.5) / plan.samples) for i in range(plan.samples)]
    places += [((True, i), (i + 0.5) / plan.held_out) for i in range(plan.held_out)]
    for place, _ in sorted(places, key=lambda entry: entry[1]):
        yield place, next(streams[place[0]])
