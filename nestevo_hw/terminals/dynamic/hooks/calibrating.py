"""Hooks of a model, fitted on frames of its camera: ways through its stages, their ladder, and how rungs agree."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.terminals.dynamic.agreement import f1
from nestevo_hw.terminals.dynamic.fitting import fitted
from nestevo_hw.terminals.dynamic.hooks.hook import pooled
from nestevo_hw.terminals.dynamic.hooks.ladder import Step, climbed
from nestevo_hw.terminals.dynamic.hooks.rungs import add_way, way_file
from nestevo_hw.terminals.dynamic.hooks.solving import narrow_of, ranked, skip_of
from nestevo_hw.terminals.dynamic.hooks.trying import Trial
from nestevo_hw.terminals.dynamic.hooks.ways import SKIP, Floats, Hooks, Narrow, Skip, Ways, checksum
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.stages import Stage, open_session
from nestevo_hw.terminals.runtime import Found, Frame

FEWEST, MOST = 40, 240
"""Frames that hooks are fitted on."""
_SOLVED_ON, _RANKED_ON, _JUDGED_ON = 40, 10, 12
"""Frames, of those, that a least-squares sum, a ranking and a step of the ladder are of."""


def fit_hooks(
    model: DynamicModel, frames: Iterable[Frame], *, most: int | None = None,
    advance: Callable[[str], None] = lambda _: None,
) -> Hooks | None:  # fmt: skip
    """Ways through a model's stages, of every other frame, and how far they agree with the dense model on the others.

    Args:
        model: of a path, without hooks, each of whose blocks is a stage.
        frames: of any size, without labels.
        most: frames; None: all, up to `MOST`.
        advance: told what is being done.

    Returns:
        None where no way saves time.

    Raises:
        InputError: there are too few frames.
    """
    shown = [frame.copy() for frame in islice(fitted(frames, model.parts.image[1:]), min(most or MOST, MOST))]
    if len(shown) < FEWEST:
        raise InputError(f"hooks need {FEWEST} frames to fit on, got {len(shown)}; give a longer source")
    solved_on, judged_on = shown[::2], shown[1::2]
    ways = {}
    for stage in model.chain.stages[1:]:
        if stage.model.kind == "features" and len(stage.model.takes) == len(stage.model.gives) == 1:
            advance(f"ways through {stage.name}")
            ways[stage.name] = _ways_of(stage, _taken(model, stage, solved_on[:: max(1, len(solved_on) // _SOLVED_ON)]))
    trial = Trial(model.prepared, model.chain.stages)
    prepared, chain = model.prepared, model.chain
    unjudged = Hooks(
        model=checksum(prepared.parts, prepared.path), after="", rungs=(), ways=ways,
        looked=np.empty((0, 1)), agreed=np.empty((0, 0)),
    )  # fmt: skip
    chain.dense(shown[-1])
    for stage in chain.stages:
        for name in ways.get(stage.name, {}):
            file = way_file(unjudged, stage.model, name)
            add_way(stage, name, file, chain.values, model.profile, model.settings.threads, trial.clock)
    advance("the ladder")
    rungs = _ladder(trial, ways, _spread(judged_on, _JUDGED_ON))
    if not rungs:
        return None
    names = [stage.name for stage in chain.stages]
    (after,) = chain.stages[min(names.index(stage) for rung in rungs for stage in rung) - 1].model.gives.values()
    advance("how rungs agree")
    looked, agreed = _judged(trial, after, rungs, judged_on)
    used = {stage: {rung[stage] for rung in rungs if stage in rung} for stage in ways}
    kept = {stage: {name: ways[stage][name] for name in sorted(names)} for stage, names in used.items() if names}
    return replace(unjudged, after=after, rungs=rungs, ways=kept, looked=looked, agreed=agreed)


def _taken(model: DynamicModel, stage: Stage, frames: Sequence[Frame]) -> list[tuple[Floats, Floats]]:
    """What a stage takes and gives of each frame."""
    (taken,), (given,) = stage.model.takes.values(), stage.model.gives.values()
    found = []
    for frame in frames:
        model.chain.dense(frame)
        found.append((model.chain.values[taken].copy(), model.chain.values[given].copy()))
    return found


def _ways_of(stage: Stage, pairs: Sequence[tuple[Floats, Floats]]) -> dict[str, Skip | Narrow]:
    """Its narrower widths, and a scale and shift if it gives as many cells as it takes."""
    from nestevo_hw.models.onnx.crops.narrowing import inner_of, tapped

    found: dict[str, Skip | Narrow] = {}
    inner = inner_of(stage.model.model)
    if inner is not None:
        session = open_session(tapped(stage.model.model, inner), 1, stage.name)
        (own,) = stage.model.takes
        inside = [session.run([inner.taken, inner.made], {own: taken}) for taken, _ in pairs]
        order = ranked(inner, [taken for taken, _ in inside[:_RANKED_ON]])
        found |= narrow_of(inner, order, ((taken, made) for taken, made in inside), np.random.default_rng(0))
    if pairs[0][0].shape == pairs[0][1].shape:
        found[SKIP] = skip_of(pairs)
    return found


def _ladder(
    trial: Trial, ways: dict[str, dict[str, Skip | Narrow]], frames: Sequence[Frame]
) -> tuple[dict[str, str], ...]:
    """Rungs by what each way alone saves and loses, and by how these agree together."""
    alone = [(stage, name) for stage, known in ways.items() for name in known]
    agreed: dict[tuple[str, str], list[float]] = {step: [] for step in alone}
    seconds = dict.fromkeys([*alone, *((stage, "") for stage in ways)], np.inf)
    for frame in frames:
        dense, took = trial.dense(frame)
        for stage in ways:
            seconds[stage, ""] = min(seconds[stage, ""], took[stage])
        for stage, name in alone:
            found, took = trial.along({stage: name})
            agreed[stage, name].append(f1(found, dense))
            # The least: whatever else the machine does only adds to it.
            seconds[stage, name] = min(seconds[stage, name], took[stage])
    steps = [
        Step(stage, name, seconds[stage, ""] - seconds[stage, name], 1 - float(np.mean(agreed[stage, name])))
        for stage, name in alone
    ]

    def together(tried: Sequence[Ways]) -> list[float]:
        scores = list[list[float]]()
        for frame in frames:
            dense, _ = trial.dense(frame)
            scores.append([f1(trial.along(one)[0], dense) for one in tried])
        return [float(score) for score in np.mean(scores, 0)]

    return climbed(steps, together)


def _judged(
    trial: Trial, after: str, rungs: Sequence[Ways], frames: Sequence[Frame]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Descriptors of frames, and F1 of each rung on them."""
    looked, agreed = [], []
    for frame in frames:
        dense: Found = trial.dense(frame)[0]
        looked.append(pooled(trial.values[after]))
        agreed.append([f1(trial.along(rung)[0], dense) for rung in rungs])
    return np.array(looked), np.array(agreed)


def _spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    """So many of some frames, over all of them."""
    return [frames[k] for k in np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)]
