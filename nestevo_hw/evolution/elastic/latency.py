"""Times of a supernet's branches for a run: measured on this machine, modelled, or measured elsewhere."""

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from nestevo_hw.base.documents import read_json
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.flops import flop_counter
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.evolution.elastic.config import CPU_TIME, MEASURED, MODELLED, ElasticTerminalsConfig
from nestevo_hw.evolution.scenario import TerminalConfig
from nestevo_hw.models.elastic.chain import inputs_of
from nestevo_hw.models.elastic.parts import IMAGE, OUTPUTS
from nestevo_hw.models.elastic.space import PathSpace
from nestevo_hw.models.elastic.supernet import Supernet, as_inputs
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.export import SingleFrame, any_floats, open_session, write_onnx
from nestevo_hw.terminals.elastic.edge import Timing, time_blocks
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel, turns
from nestevo_hw.terminals.elastic.network import Network
from nestevo_hw.terminals.elastic.search.problem import Problem

_ROUNDS = 100
_MACS_A_SECOND = 1e9
"""A nominal speed, so that a table of multiply-accumulates reads as one of times; only shares of the base count."""
ORIGINS = {MEASURED: "measured", CPU_TIME: "measured in CPU time", MODELLED: "modelled from multiply-accumulates"}
"""Where the times of a table come from, in words, if it is not one from elsewhere."""


def branch_times(config: ElasticTerminalsConfig, supernet: Supernet, size: tuple[int, int], seed: int) -> LatencyModel:
    """How long every path takes, as `elastic.latency` asks.

    Args:
        config: of a run.
        supernet: that of the config, as built.
        size: (H, W) of frames, pixels; what is measured has those that the parts were exported for.
        seed: of made-up inputs.

    Raises:
        InputError: parts or table are damaged, or of another supernet.
    """
    if config.latency == MODELLED:
        return modelled_times(supernet, torch.zeros(3, *size))
    if config.latency not in ORIGINS:
        return given_times(Path(config.latency), supernet)
    return time_blocks(Network(config.parts_folder), seed, clock=clock_of(config)).model


def clock_of(config: ElasticTerminalsConfig) -> Callable[[], float]:
    """Of what is measured."""
    return time.thread_time if config.latency == CPU_TIME else time.perf_counter


def given_times(file: Path, supernet: Supernet) -> LatencyModel:
    """The table that an `elastic search` has left.

    Raises:
        InputError: it is missing, damaged, or lacks a branch.
    """
    found = read_json(file, Timing, advice="give timing.json of an `elastic search` through this supernet").model
    found.require(supernet.space, str(file))
    return found


def modelled_times(supernet: Supernet, image: Tensor) -> LatencyModel:
    """Multiply-accumulates of every branch, and of what is beside the blocks, at a nominal speed.

    Args:
        supernet: in eval mode.
        image: (3, H, W) floats in 0..1.
    """
    inputs = as_inputs(supernet.base, image[None])
    taken = inputs_of(supernet.base, supernet.chain.names, inputs)
    table = {branch: _macs(supernet.block(branch), taken[branch.start]) for branch in supernet.space.branches}
    beside = _macs(supernet.base, inputs) - sum(table[branch] for branch in supernet.space.base)
    entries = tuple(BranchTime(branch, macs / _MACS_A_SECOND) for branch, macs in table.items())
    return LatencyModel(entries, offset_s=max(beside, 0) / _MACS_A_SECOND)


@torch.no_grad()
def _macs(module: nn.Module, inputs: object) -> int:
    with flop_counter() as counter:
        module(inputs)
    return int(counter.get_total_flops()) // 2


def shares_of_base(
    config: ElasticTerminalsConfig, supernet: Supernet, models: Mapping[str, nn.Module], size: tuple[int, int]
) -> dict[str, float]:
    """How long models take, as shares of the base of a supernet, measured or modelled as its branches are.

    Args:
        config: of a run; its table is not one from elsewhere, which knows no other models.
        supernet: that of the config, as built.
        models: by name, in eval mode.
        size: (H, W) of frames, pixels.
    """
    base = supernet.model(supernet.space.base)
    image = torch.rand(1, 3, *size, generator=torch_generator(0, "frame"))
    if config.latency == MODELLED:
        whole = _macs(base, as_inputs(base, image))
        return {name: _macs(model, as_inputs(model, image)) / whole for name, model in models.items()}
    taken = whole_times({**models, "": base}, image, clock_of(config))
    whole_s = taken.pop("")
    # Within a turn, so that what else runs on the machine slows both.
    return {name: median(a / b for a, b in zip(own, whole_s, strict=True)) for name, own in taken.items()}


def whole_times(models: Mapping[str, nn.Module], images: Tensor, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of models, each exported as one file, on one thread of ONNX Runtime; all take turns.

    Args:
        models: in eval mode, on the CPU.
        images: (1, 3, H, W) floats in 0..1.
        clock: of seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: _run_of(model, images, Path(folder) / "model.onnx") for name, model in models.items()}
    return turns(runs, rounds=_ROUNDS, clock=clock)


def _run_of(model: nn.Module, images: Tensor, file: Path) -> Callable[[], object]:
    detects = is_detector(model)
    whole: nn.Module = SingleFrame(model) if detects else model
    given = images[0] if detects else images
    outputs = OUTPUTS["detection" if detects else "classification"]
    with any_floats(whole):
        write_onnx(whole, (given,), file, inputs=(IMAGE,), outputs=outputs,
                   dynamic={name: {0: "detections"} for name in outputs if detects})  # fmt: skip
    session, taken = open_session(file), {IMAGE: np.ascontiguousarray(given.numpy())}
    return lambda: session.run(None, taken)


def budgets_of(
    terminals: Iterable[TerminalConfig], space: PathSpace, latency: LatencyModel, shares: Mapping[str, float]
) -> dict[str, float]:
    """What a path of each elastic terminal may take, as a share of the base's time.

    Args:
        terminals: of a run.
        space: of the paths.
        latency: their times.
        shares: of terminals' models, in place of which they run paths; what takes longer than the base counts as that.

    Raises:
        ConfigError: no path takes as little.
    """
    whole, budgets = latency.time(space.base), dict[str, float]()
    least = latency.time(Problem(space, latency, whole).fastest) / whole
    for terminal in terminals:
        budget = shares.get(terminal.name) if terminal.latency_budget is None else terminal.latency_budget
        if budget is None:
            continue
        if budget < least:
            asked = "latency_budget" if terminal.model is None else f"{terminal.model} in elastic.in_place_of_models"
            raise ConfigError(
                f"terminal {terminal.name!r}: {asked}: no path takes as little as {budget:.3f} of the base's time, the "
                f"fastest one takes {least:.3f}; give it {math.ceil(100 * least) / 100:g} or more, or build a supernet "
                "with more branches"
            )
        budgets[terminal.name] = min(budget, 1.0)
    return budgets
