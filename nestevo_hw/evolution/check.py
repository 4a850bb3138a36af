"""What can be found wrong with a configuration before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nestevo_hw.base.compute import compute_device, resolved
from nestevo_hw.base.errors import ConfigError, InputError, LostFileError
from nestevo_hw.base.files import read_text
from nestevo_hw.base.names import is_own
from nestevo_hw.crossbar.backend import choose_backend
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.devices import DevicePreset, is_file
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.evolution.cameras import check_frames, open_stream, plan_reference, plan_window, shows_places
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import FIRST_GUESS
from nestevo_hw.evolution.drift import calibrated_threshold
from nestevo_hw.evolution.elastic.check import checked_supernet
from nestevo_hw.evolution.elastic.latency import ORIGINS
from nestevo_hw.evolution.execution import ExecutionConfig, gpus_of, reservable_bytes
from nestevo_hw.evolution.grouping import declared_groups
from nestevo_hw.evolution.held_out import weak_checkpoint
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.own import check_widths, try_model
from nestevo_hw.evolution.refresh import chip_of
from nestevo_hw.evolution.scenario import TerminalConfig
from nestevo_hw.evolution.teaching import tried_labeller
from nestevo_hw.models.batch_norm import has_batch_norm
from nestevo_hw.models.checkpoint import check_origin, load_model, resolve_checkpoint
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.profiler.gpu_context import target_of
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.streams.matching import LabelReview
from nestevo_hw.streams.samples.stream import LabelledStream
from nestevo_hw.streams.sampling import allocate
from nestevo_hw.streams.video import Damage, VideoStream
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    ClassLogits,
    FeatureGeneration,
    LabelConfirmation,
    MutualLearning,
    PredictionEntropy,
    SmallerInput,
    require,
)
from nestevo_hw.tasks.named import task_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What was found in a terminal's recording."""

    labels: LabelReview | None
    """What became of its label file, if it has one."""
    damage: Damage | None
    """Where frames that the run needs are damaged."""


def check_run(config: RunConfig) -> dict[str, Review]:
    """Open every checkpoint and stream a run will need, and plan every window.

    Returns:
        What was found in the recording of each terminal that has one.

    Raises:
        ConfigError: an unknown name, a task that cannot do what the method wants, an absent device, an age the
            crossbar has no model for, or windows too short for their frames.
        InputError: a video or its labels that cannot be read, are too short or more than half damaged.
    """
    _check_capabilities(config)
    declared_groups(config)
    _check_budget(config)
    compute_device(config.execution.device, asked="execution.device")
    gpus_of(config.execution)
    _check_memory(config)
    teacher = _check_models(config)
    METHODS[config.method].check(config)
    _check_places(config)
    reviews: dict[str, Review] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for terminal in [t for t in config.terminals if not t.remote]:
        stream = open_stream(config, terminal)
        sizes[terminal.name] = stream.size
        for window in range(config.window.count):
            check_frames(stream, *plan_window(config, terminal, stream, window))
        if isinstance(stream, VideoStream):
            reviews[terminal.name] = Review(labels=stream.review, damage=stream.damage)
    _check_sizes(sizes)
    if (preset := config.teacher.preset) is not None:
        choose_backend(preset, config.teacher.backend)
        map_model(teacher, config.teacher.tile, device=preset)
        _check_ages(config, preset)
        load_chip(chip_of(config.refresh, preset))
    _check_adapters(config, teacher)
    _check_reference(config)
    _check_execution(config.execution)
    return reviews


def _check_sizes(sizes: Mapping[str, tuple[int, int]]) -> None:
    """Frames of all terminals go into the same batches, so they have one size."""
    names = list(sizes)
    for name in names[1:]:
        (height, width), (first_height, first_width) = sizes[name], sizes[names[0]]
        if (height, width) != (first_height, first_width):
            raise ConfigError(
                f"frame_size: terminal {name!r} has frames of {height} x {width}, but {names[0]!r} of {first_height} x "
                f"{first_width}; set same_size = true, which fills them up"
            )


def check_inputs_kept(config: RunConfig) -> None:
    """Look whether the files that a configuration names are still there, before a run goes on.

    Raises:
        LostFileError: one is not; the tasks that need it would fail for good.
    """
    named = [("teacher.model", config.teacher.model), ("execution.profile", config.execution.profile)]
    if (labeller := config.teacher.labeller) is not None:
        named.append(("teacher.labeller.file", labeller.file))
    if config.refresh.chip not in CHIPS:
        named.append(("refresh.chip", config.refresh.chip))
    for terminal in config.terminals:
        named += [
            (f"{key} of terminal {terminal.name!r}", path)
            for key, path in (("model", terminal.model), ("video", terminal.video), ("labels", terminal.labels))
        ]
        named.append((f"data of terminal {terminal.name!r}", terminal.data))
    named.append(("reference.data", config.reference.data))
    if config.elastic_terminals:
        named.append(("elastic.supernet", str(config.elastic.supernet_file)))
        named += [("elastic.latency", config.elastic.latency)] if config.elastic.latency not in ORIGINS else []
    for key, name in named:
        if name is not None and name not in PRETRAINED and not is_own(name) and not Path(name).exists():
            raise LostFileError(
                f"{key}: {name} was there when the run started and is not now; put it back, then resume"
            )


def teacher_warnings(config: RunConfig) -> list[str]:
    """What should be looked at in the teacher's own files, which may have changed since the run recorded them."""
    teacher, path = config.teacher, Path(config.teacher.analog)
    warnings = _weakness(config) if teacher.labeller is None else teacher.labeller.warnings
    if is_file(teacher.analog) and path.is_file() and read_text(path) != teacher.analog_text:
        warnings.append(
            f"{path} has changed since this run started; the run goes on with the device as it was recorded"
        )
    return warnings


def _weakness(config: RunConfig) -> list[str]:
    """That the teacher, as its pre-training found it, knows less than a terminal that learns from its labels."""
    if "label" not in METHODS[config.method].kinds:
        return []
    models = [resolve_checkpoint(name) for name in dict.fromkeys(config.fixed_models.values())]
    doubt = weak_checkpoint(resolve_checkpoint(config.teacher.model), models)
    return [doubt] if doubt else []


def input_warnings(reviews: Mapping[str, Review]) -> list[str]:
    """What should be looked at in label files and recordings, a line each; once where terminals share a file."""
    found = (part for review in reviews.values() for part in (review.labels, review.damage) if part is not None)
    return list(dict.fromkeys(line for part in found for line in part.warnings))


def _check_models(config: RunConfig) -> nn.Module:
    """Every checkpoint is whole, of the run's task, and knows what the teacher knows; returns the teacher."""
    own, asked, models = config.model.factory, "[model] factory", dict[str, nn.Module]()
    classes, first = tuple[str, ...](), f"the teacher's ({config.teacher.model})"
    if config.teacher.labeller is None:
        models["the teacher"], classes = _opened(config, config.teacher.model, "teacher.model", own, asked)
    terminals = {t.name: _terminal_model(config, t, t.model) for t in config.terminals if t.model is not None}
    found = {f"terminal {name!r}": opened for name, opened in terminals.items()}
    if config.elastic_terminals:
        found["elastic.supernet"] = checked_supernet(config, {name: model for name, (model, _) in terminals.items()})
    for named, (model, known) in found.items():
        models[named] = model
        if not classes:
            classes, first = known, f"that of {named}"
        if known != classes:
            raise ConfigError(
                f"{named}: its model knows the classes {', '.join(known)} but {first} {', '.join(classes)}; choose "
                "models made together, by one `nestevo-hw pretrain`"
            )
    task = task_named(config.task)
    if generates(config) and isinstance(task, FeatureGeneration):
        check_widths({n: next(task.prediction_module(m).parameters()).shape[-1] for n, m in models.items()})
    return models["the teacher"] if config.teacher.labeller is None else tried_labeller(config)


def _terminal_model(config: RunConfig, terminal: TerminalConfig, model: str) -> tuple[nn.Module, tuple[str, ...]]:
    named, own = f"terminal {terminal.name!r}", config.model.factory
    factory, asked = (terminal.factory, f"factory of {named}") if terminal.factory else (own, "[model] factory")
    return _opened(config, model, f"model of {named}", factory, asked)


def _opened(
    config: RunConfig, name: str, key: str, factory: str | None, asked: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """A checkpoint, read whole, and its classes.

    Args:
        config: of the run.
        name: of the checkpoint.
        key: where it is named.
        factory: of the user's own that may make it.
        asked: where that is named.
    """
    try:
        path = resolve_checkpoint(name)
        check_origin(path, factory, asked)
        model, spec = load_model(path)
        try_model(task_named(config.task), model, spec, config.frame_size)
    except (ConfigError, InputError) as error:
        raise type(error)(f"{key}: {error}") from error
    return model, spec.classes


def generates(config: RunConfig) -> bool:
    """Whether a feature generator takes part."""
    return "generate" in METHODS[config.method].kinds and config.generator.enabled


def _check_adapters(config: RunConfig, teacher: nn.Module) -> None:
    """The method, the teacher and its device can do with adapters in place of programming."""
    settings, method = config.teacher, METHODS[config.method]
    by_benefit = config.drift.decision == "benefit" and method.co_evolves
    if settings.update != "adapt" and not by_benefit:
        return
    if not method.co_evolves:
        raise ConfigError(
            f'teacher.update = "adapt": the teacher of method {method.name} does not evolve; leave it out'
        )
    key, instead = ('drift.decision = "benefit"', "paper") if by_benefit else ('teacher.update = "adapt"', "program")
    if by_benefit:
        require(task_named(config.task), ClassLogits, key)
    if not has_batch_norm(teacher):
        raise ConfigError(f'{key}: {settings.model} has no BatchNorm that could adapt; set "{instead}"')
    if (preset := settings.preset) is not None and choose_backend(preset, settings.backend)[0] == "reference":
        raise ConfigError(
            f"{key}: no gradient passes {preset.name} in backend reference, which input noise "
            "asks for; leave teacher.backend and the input noise out"
        )


def _check_places(config: RunConfig) -> None:
    """Every place named is one that the embedded stream of the task can show."""
    known = task_named(config.task).embedded.places
    if not shows_places(config):
        return
    named = [(f"place of terminal {t.name!r}", t.place) for t in config.terminals if t.place is not None]
    named += [("reference.places", place) for place in config.reference.places]
    for key, place in named:
        if known and place not in known:
            raise ConfigError(f"{key}: unknown place {place!r}; choose from {', '.join(known)}")


def _check_reference(config: RunConfig) -> None:
    """There are in-domain frames, and enough of them to calibrate the drift threshold."""
    segments = plan_reference(config)
    for stream, rows in segments:
        if isinstance(stream, LabelledStream):
            check_frames(stream, rows)
    if not segments:
        raise ConfigError(
            "there are no in-domain frames: no video or data has a labelled frame before its terminal's start_frame, "
            "and reference.places is empty; raise start_frame, give reference.data or name places"
        )
    if config.detects_drift and config.drift.gamma is None:
        calibrated_threshold([0.0] * len(segments), config.drift.false_alarm_rate)


def _check_execution(execution: ExecutionConfig) -> None:
    """The libraries and files that tasks run with are there."""
    if execution.executor == "ray":
        from nestevo_hw.scheduler.ray.connection import import_ray

        import_ray()
    if execution.profile is not None:
        try:
            ProfiledCosts.load(Path(execution.profile), target_of(resolved(execution.device)))
        except InputError as error:
            raise InputError(f"execution.profile: {error}") from error


def _check_memory(config: RunConfig) -> None:
    """A task may reserve as much as a first one does, and on a CPU what one terminal's frames of a window take."""
    if config.execution.executor == "ray":  # a cluster's nodes offer what they have
        return
    target = target_of(resolved(config.execution.device))
    given, first = reservable_bytes(config.execution), FIRST_GUESS.memory_bytes + target.context_bytes
    if given < first:
        raise ConfigError(f"execution.memory_gb: a task takes {first / 1e9:g} GB, got {given / 1e9:g}")
    if target.kind != "cpu":  # frames lie in main memory
        return
    sampling, window = config.sampling, config.window
    most = max(config.uploads(terminal.name) for terminal in config.terminals)
    if sampling.budget_frames is not None:
        most = min(sampling.budget_frames, window.segment_frames)
    height, width = config.frame_size
    needed = (most + window.test_frames) * 3 * height * width
    if needed > given:
        raise ConfigError(
            f"window: {most} uploaded and {window.test_frames} test frames of {height} x {width} take "
            f"{needed / 1e9:.1f} GB, more than execution.memory_gb = {given / 1e9:g}; "
            "lower upload_frames, test_frames or frame_size"
        )


def _check_capabilities(config: RunConfig) -> None:
    """The task can do what the method and the settings want of it."""
    task, kinds, method = task_named(config.task), METHODS[config.method].kinds, f"method {config.method}"
    if "mutual" in kinds:
        require(task, MutualLearning, method)
    if "adapt" in kinds:
        require(task, AdversarialAdaptation, method)
    if "adapt-scale-and-shift" in kinds:
        require(task, PredictionEntropy, method)
    if generates(config):
        require(task, FeatureGeneration, "generator.enabled")
    if config.confirms and config.teacher.labeller is None:
        require(task, LabelConfirmation, "labels.confirm")
    if config.compression.enabled:
        require(task, SmallerInput, "compression.enabled")
    if config.remote and METHODS[config.method].wants_truth:
        raise ConfigError(f"{method}: terminal {config.remote[0]!r} is remote and has no true labels; choose another")


def _check_ages(config: RunConfig, preset: DevicePreset) -> None:
    """The device knows every age at which the teacher may be read: of the first programming, and of later ones."""
    for key, first_s in (("age_s", config.teacher.age_s), ("delay_s", config.teacher.delay_s)):
        for window in range(config.window.count):
            try:
                preset.check_time(first_s + config.window.start_s(window))
            except ConfigError as error:
                raise ConfigError(f"teacher.{key}, window {window}: {error}") from None


def _check_budget(config: RunConfig) -> None:
    """The upload budget gives every terminal of every window its least, and a segment what a terminal uploads of it."""
    sampling, most = config.sampling, config.window.segment_frames
    if not any(config.uploads(terminal.name) for terminal in config.terminals):
        raise ConfigError("upload_frames is 0 for every terminal; at least one has to send frames to learn from")
    for own in [t for t in config.terminals if t.upload_frames is not None]:
        if sampling.budget_frames is not None:
            raise ConfigError(
                f"terminal {own.name!r}: upload_frames is shared out by sampling.budget_frames; leave one of them out"
            )
        if config.uploads(own.name) > most:
            raise ConfigError(
                f"terminal {own.name!r}: need upload_frames <= {most}, the frames of a segment (window.upload_frames x "
                f"upload_spacing), got {own.upload_frames}"
            )
    if sampling.budget_frames is not None:
        for window in range(config.window.count):
            present = dict.fromkeys(config.present(window), 0.0)
            allocate(present, sampling.budget_frames, least=sampling.least_frames, most=most)
