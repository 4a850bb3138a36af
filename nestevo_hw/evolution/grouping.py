"""Forming the groups of a run before its first window."""

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.groups import Groups, check_count, named_groups, similar_groups
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.steps.camera import CaptureRequest
from nestevo_hw.evolution.steps.labels import DescribeRequest
from nestevo_hw.evolution.steps.table import CAPTURE, DESCRIBE
from nestevo_hw.models.checkpoint import resolve_checkpoint


def form_groups(config: RunConfig, layout: RunLayout, dispatch: Dispatch) -> Groups:
    """The groups that the configuration asks for.

    Raises:
        ConfigError: a terminal lacks what the grouping needs.
    """
    declared = declared_groups(config)
    if declared is not None:
        return declared
    return similar_groups(_features(config, layout, dispatch), config.groups.count, standardise=True)


def declared_groups(config: RunConfig) -> Groups | None:
    """Groups that follow from the configuration alone; None where frames decide.

    Raises:
        ConfigError: a terminal lacks what the grouping needs, or there are more groups than terminals.
    """
    terminals = {t.name: t for t in config.terminals}
    match config.groups.by:
        case "none":
            return {"": tuple(terminals)}
        case "name":
            return named_groups({name: t.group for name, t in terminals.items()})
        case "place":
            places = {name: t.position_m for name, t in terminals.items() if t.position_m is not None}
            missing = [name for name in terminals if name not in places]
            if missing:
                raise ConfigError(f'terminal {missing[0]!r}: groups.by = "place" needs its position_m')
            return similar_groups(places, config.groups.count, standardise=False)
        case "features":
            _check_features(config)
            return None


def _check_features(config: RunConfig) -> None:
    if config.teacher.labeller is not None:
        raise ConfigError(
            'groups.by = "features": teacher.labeller gives detections and no features; group by "name" or "place"'
        )
    late = [t.name for t in config.terminals if t.joins or t.remote or not config.uploads(t.name)]
    if late:
        raise ConfigError(
            f'terminal {late[0]!r} joins later, is remote or uploads nothing, but groups.by = "features" needs its '
            "first frames at once"
        )
    check_count(config.groups.count, len(config.terminals))


def _features(config: RunConfig, layout: RunLayout, dispatch: Dispatch) -> dict[str, tuple[float, ...]]:
    """Mean feature that the first teacher, still digital, detects on each terminal's first frames."""
    captures = {
        t.name: CaptureRequest(
            frames=config.window.upload_frames,
            upload=layout.window(0, t.name, "upload.safetensors"),
            test=layout.window(0, t.name, "test.safetensors"),
            truth=None,
        )
        for t in config.terminals
    }
    dispatch.run(CAPTURE, None, captures)
    weights = resolve_checkpoint(config.teacher.model)
    requests = {name: DescribeRequest(weights=weights, upload=own.upload) for name, own in captures.items()}
    features = {name: f.value.feature for name, f in dispatch.run(DESCRIBE, None, requests).items()}
    blind = [name for name, feature in features.items() if not feature]
    if blind:
        raise ConfigError(f"the teacher finds nothing on the first frames of {blind[0]}; group by name or place")
    return features
