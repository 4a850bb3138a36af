"""The configuration of a run: TOML in, validated, every field with its unit and default."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.generator import GeneratorConfig
from nestevo_hw.evolution.groups import GroupsConfig
from nestevo_hw.evolution.method_names import Method
from nestevo_hw.evolution.presets import preset_text
from nestevo_hw.evolution.refresh import RefreshConfig
from nestevo_hw.evolution.replay import ReplayConfig
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.evolution.trigger import TriggerConfig
from nestevo_hw.evolution.zoo import ZooConfig
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.sampling import SamplingConfig
from nestevo_hw.tasks.adversarial import AdversarialConfig
from nestevo_hw.tasks.confirmation import ConfirmationConfig
from nestevo_hw.tasks.supervision import LabelConfig

_CO_EVOLVING = ("NestEvo", "A2")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftStep:
    """A change of a terminal's conditions that holds from the start of a window on."""

    window: int
    """First window with this condition."""
    kind: str
    """night, dusk, fog, rain or defocus."""
    strength: float
    """0 (none) to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A window in which a camera fails."""

    window: int
    kind: Literal["silent", "garbage", "frozen"]
    """It sends nothing, noise, or one frame again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalConfig:
    """One camera and the detector that runs on it."""

    name: str
    model: str
    """A shipped name (fasterrcnn-tiny-m1, -m2, -m3) or the path of a checkpoint."""
    place: str | None = None
    """Scenery of an embedded stream."""
    video: str | None = None
    """Video file instead of an embedded stream."""
    labels: str | None = None
    """COCO-JSON labels of the video; only the evaluation reads them."""
    class_map: Mapping[str, str] = field(default_factory=dict)
    """Label file's class to model's class; unnamed classes are left out."""
    start_frame: int = 0
    """First frame of the video to use."""
    drift: tuple[DriftStep, ...] = ()
    joins: int = 0
    """First window in which it takes part."""
    leaves: int | None = None
    """First window in which it no longer does."""
    outages: tuple[Outage, ...] = ()
    """Failures to try a run against."""
    group: str | None = None
    """Group of terminals with a teacher of their own, for `groups.by = "name"`."""
    position_m: tuple[float, float] | None = None
    """East and north of a common point, metres, for `groups.by = "place"`."""

    def __post_init__(self) -> None:
        if self.joins < 0 or (self.leaves is not None and self.leaves <= self.joins):
            raise ConfigError(
                f"terminal {self.name!r}: need 0 <= joins < leaves, got joins = {self.joins}, leaves = {self.leaves}"
            )
        if (self.place is None) == (self.video is None):
            raise ConfigError(f"terminal {self.name!r}: give either place or video")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"terminal name {self.name!r}: use letters, digits, - and _, it names files")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """What happens within one evolution window."""

    count: int = 2
    """Number of evolution windows."""
    length_s: float = 600.0
    """Time between two evolution requests, t_total of eq. 6, seconds."""
    hours_apart: float | None = None
    """Hours from the start of one window to the next by the clock that ages the teacher's cells; None: they follow
    one another, `length_s` apart. The stream's frames go on as if no time had passed between windows."""
    upload_frames: int = 96
    """Unlabelled frames each terminal uploads at the start of a window."""
    upload_spacing: int = 5
    """Frames of the stream between two uploaded ones."""
    test_frames: int = 60
    """Later frames of the same window, used by nobody but the evaluation."""
    recalled: int = 2
    """Earlier windows on whose test frames a new model is scored as well, to see what it has forgotten."""
    batch_norm_adaptation: bool = True
    """Send terminals the BatchNorm statistics of their new frames at once, to run with until they have evolved. Only
    methods that evolve the teacher take the time for it."""

    def __post_init__(self) -> None:
        if min(self.count, self.upload_frames, self.upload_spacing, self.test_frames) < 1 or self.length_s <= 0:
            raise ConfigError("window: count, length_s, upload_frames, upload_spacing and test_frames must be positive")
        if self.interval_s < self.length_s:
            raise ConfigError(
                f"window: hours_apart = {self.hours_apart} is shorter than a window of {self.length_s:g} s; "
                "windows may not overlap"
            )

    @property
    def segment_frames(self) -> int:
        """Frames of the stream from which the uploaded ones are taken."""
        return self.upload_frames * self.upload_spacing

    @property
    def interval_s(self) -> float:
        """From the start of one window to the next by the clock, seconds."""
        return self.length_s if self.hours_apart is None else 3600.0 * self.hours_apart

    def start_s(self, window: int) -> float:
        """When a window starts by the clock, seconds; the first one at 0."""
        return window * self.interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """The global teacher and the crossbar it lives on."""

    model: str = "fasterrcnn-tiny"
    device: str = "pcm"
    """Device preset: pcm, hermes, reram-cmo, reram-wan or ideal; "digital" leaves the crossbar out."""
    tile: int = 256
    """Rows and columns of one crossbar tile."""
    backend: Literal["auto", "fold", "fused", "reference"] = "auto"
    age_s: float = 3600.0
    """Age of the first programming when the first window starts, seconds."""
    delay_s: float = 60.0
    """From any later programming to the first label, seconds."""
    scene_norm: bool | None = None
    """Re-estimate the digital BatchNorm statistics on each terminal's frames; None: where the method does (NestEvo and
    A2 do, the other baselines do not)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    """Labelled in-domain frames the edge server keeps: calibration, drift threshold, guard, replay."""

    places: tuple[str, ...] = (
        "campus", "village", "downtown", "crossing", "suburb", "station", "market", "harbour", "school", "park",
    )  # fmt: skip
    """Sceneries of embedded streams, by day."""
    frames_per_segment: int = 24
    segments_per_place: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """When evolution includes the teacher (eq. 11-13)."""

    gamma: float | None = None
    """Threshold of eq. 12; without it, calibrated on in-domain segments. The paper uses 50."""
    false_alarm_rate: float = 0.1
    """Share of in-domain segments that may exceed the calibrated threshold."""
    epsilon: int | None = None
    """Drifted terminals from which on the teacher evolves too; default: more than half."""
    min_samples: int = 8
    """A class with fewer objects on either side is left out of eq. 11."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualConfig:
    """Mutual learning of a terminal and its intermediate model (eq. 14, 15, 18-20)."""

    plan: TrainingPlan = TrainingPlan(steps=40)
    alpha: float = 0.7
    """Share of the labels in the terminal's loss."""
    beta: float = 0.7
    """Share of the labels in the intermediate model's loss."""
    noise_mu: float = 0.02
    """Weight noise of the intermediate model in training, of its weights' range; 0 turns it off."""
    replay_frames: int = 2
    """Labelled in-domain frames in each batch, against forgetting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """Distillation of the teacher into a terminal."""

    plan: TrainingPlan = TrainingPlan(steps=40)
    temperature: float = 2.0
    soft_share: float = 0.5
    """Weight of soft targets against pseudo-labels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Network between terminal and edge server; its times are modelled, not measured."""

    upload_mbit_s: float = 20.0
    download_mbit_s: float = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """Workers of the edge server."""

    workers: int = 0
    """Worker processes of one thread each; 0: one a core, at most four."""
    memory_gb: float = 4.0
    """Memory that tasks may reserve together, GB."""
    policy: Literal["knapsack", "random", "serial", "backfill", "lifecycle", "lookahead", "lookahead-gain"] = "knapsack"
    """knapsack is Algorithm 3, random B1, serial B2; the others are in docs/scheduling.md."""
    profile: str | None = None
    """profile.safetensors of `nestevo-hw profile`, which predicts the time of trainings from the first one on."""
    executor: Literal["local", "ray"] = "local"
    """Worker processes of this machine, or the nodes of a Ray cluster."""
    address: str = "auto"
    """Head of the Ray cluster, host:port; auto: the one that runs here, local: start one."""
    shared_folder: bool = False
    """Whether all nodes see the run folder; otherwise files travel with the tasks."""
    timeout_s: float | None = None
    """Longest a task may run, seconds; None: no limit."""
    device: str = "auto"
    """Where training runs: auto, cpu or cuda."""
    keep_windows: int | None = None
    """Windows whose frames, labels and checkpoints stay on disk; older ones go unless still in use. None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything `nestevo-hw evolve` needs to know."""

    terminals: tuple[TerminalConfig, ...]
    seed: int = 0
    task: str = "detection"
    """detection or classification."""
    method: Method = "NestEvo"
    """NestEvo or a baseline; `nestevo-hw compare --list` tells what each does."""
    frame_size: tuple[int, int] = (128, 160)
    """Height and width of embedded frames; of a video its long side is scaled to the larger, pixels."""
    window: WindowConfig = WindowConfig()
    sampling: SamplingConfig = SamplingConfig()
    trigger: TriggerConfig = TriggerConfig()
    teacher: TeacherConfig = TeacherConfig()
    refresh: RefreshConfig = RefreshConfig()
    reference: ReferenceConfig = ReferenceConfig()
    groups: GroupsConfig = GroupsConfig()
    drift: DriftConfig = DriftConfig()
    labels: LabelConfig = LabelConfig()
    confirmation: ConfirmationConfig = ConfirmationConfig()
    generator: GeneratorConfig = GeneratorConfig()
    mutual: MutualConfig = MutualConfig()
    distil: DistilConfig = DistilConfig()
    compression: CompressionConfig = CompressionConfig()
    replay: ReplayConfig = ReplayConfig()
    zoo: ZooConfig = ZooConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    gate_margin: float = 0.03
    """A new teacher that loses more mAP@0.50 than this on labelled in-domain frames is rejected."""
    link: LinkConfig = LinkConfig()
    execution: ExecutionConfig = ExecutionConfig()

    def __post_init__(self) -> None:
        names = [t.name for t in self.terminals]
        if not names:
            raise ConfigError("terminals: need at least one [[terminals]] table")
        if len(set(names)) < len(names):
            raise ConfigError(f"terminals: names must differ, got {', '.join(names)}")

    @property
    def scene_norm(self) -> bool:
        """Whether the teacher labels with BatchNorm statistics of the scene."""
        wanted = self.teacher.scene_norm
        return self.method in _CO_EVOLVING if wanted is None else wanted

    @property
    def confirms(self) -> bool:
        """Whether views, an ensemble and neighbouring frames confirm the teacher's labels."""
        wanted = self.labels.confirm
        return self.method in _CO_EVOLVING if wanted is None else wanted

    def present(self, window: int) -> list[str]:
        """Terminals that take part in a window."""
        return [t.name for t in self.terminals if t.joins <= window and (t.leaves is None or window < t.leaves)]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


_SECTIONS = (
    RunConfig, TerminalConfig, DriftStep, Outage, WindowConfig, TeacherConfig, RefreshConfig, ReferenceConfig,
    GroupsConfig, DriftConfig, LabelConfig, GeneratorConfig, MutualConfig, DistilConfig, TrainingPlan, LinkConfig,
    CompressionConfig, ConfirmationConfig, SamplingConfig, TriggerConfig, ReplayConfig, ZooConfig, AdversarialConfig,
    ExecutionConfig,
)  # fmt: skip
for _section in _SECTIONS:
    # Unknown keys are mistakes; pydantic reads this attribute when the adapter below is built.
    setattr(_section, "__pydantic_config__", ConfigDict(extra="forbid"))  # noqa: B010
_ADAPTER = TypeAdapter(RunConfig)


def parse_config(document: Mapping[str, Any], *, source: str) -> RunConfig:
    """Check a configuration document and fill in defaults.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value, with its place in `source`.
    """
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{source}: {place or 'top level'}: {first['msg']} (got {first['input']!r})") from error


def load_config(path: Path) -> RunConfig:
    """Read a TOML configuration.

    Raises:
        ConfigError: the file is missing, not TOML, or not a valid configuration.
    """
    if not path.is_file():
        raise ConfigError(f"no configuration {path}; write one with `nestevo-hw init {path}`")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return parse_config(document, source=str(path))


def load_preset(name: str) -> RunConfig:
    """The configuration of a preset."""
    return parse_config(tomllib.loads(preset_text(name)), source=f"preset {name}")


def override(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A configuration with some values replaced; None leaves a value alone.

    Args:
        config: to start from.
        changes: values by dotted name, such as "window.count".
    """
    document = config.document()
    for name, value in changes.items():
        if value is not None:
            *sections, key = name.split(".")
            table = document
            for section in sections:
                table = table[section]
            table[key] = value
    return parse_config(document, source="command line")
