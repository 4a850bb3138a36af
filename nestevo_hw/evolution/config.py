"""The configuration of a run: TOML in, validated, every field with its unit and default."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from nestevo_hw.base.choices import one_of
from nestevo_hw.base.documents import forbid_unknown_keys, json_line, parse, parse_toml, plain
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import check_distinct
from nestevo_hw.base.ranges import SEED, Range
from nestevo_hw.evolution.adaptation import AdaptersConfig
from nestevo_hw.evolution.deployment import DeploymentConfig
from nestevo_hw.evolution.drift import DriftConfig
from nestevo_hw.evolution.elastic.config import ElasticTerminalsConfig
from nestevo_hw.evolution.execution import ExecutionConfig
from nestevo_hw.evolution.gate import GateConfig
from nestevo_hw.evolution.generator import GeneratorConfig
from nestevo_hw.evolution.groups import GroupsConfig
from nestevo_hw.evolution.layout import group_folder
from nestevo_hw.evolution.learning import DistilConfig, MutualConfig
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.presets import preset_text, run_document
from nestevo_hw.evolution.refresh import RefreshConfig
from nestevo_hw.evolution.replay import ReplayConfig
from nestevo_hw.evolution.scenario import LinkConfig, ModelConfig, ReferenceConfig, TerminalConfig, WindowConfig
from nestevo_hw.evolution.teacher import TeacherConfig
from nestevo_hw.evolution.training import TrainingConfig
from nestevo_hw.evolution.trigger import TriggerConfig
from nestevo_hw.evolution.zoo import ZooConfig
from nestevo_hw.report.records.terminal import TEACHER
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.sampling import SamplingConfig
from nestevo_hw.tasks.adversarial import AdversarialConfig
from nestevo_hw.tasks.confirmation import ConfirmationConfig
from nestevo_hw.tasks.names import TASKS
from nestevo_hw.tasks.supervision import LabelConfig

MOST_TERMINALS = 1000
Side = Annotated[int, Range(16, 4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything `nestevo-hw evolve` needs to know."""

    terminals: tuple[TerminalConfig, ...]
    seed: Annotated[int, SEED] = 0
    task: Annotated[str, one_of(TASKS, own=True)] = "detection"
    """docs/catalogue.md says what each is; `package.module:name` is one of your own (docs/your-task.md)."""
    method: Annotated[str, one_of(METHODS)] = "NestEvo"
    """`nestevo-hw compare --list` tells what each does."""
    frame_size: tuple[Side, Side] = (128, 160)
    """Height and width of embedded frames and of data; of a video its long side is scaled to the larger, pixels."""
    same_size: bool = False
    """Fill up the frames of videos at the right and at the bottom to `frame_size`, for videos of different shapes."""
    model: ModelConfig = ModelConfig()
    elastic: ElasticTerminalsConfig = ElasticTerminalsConfig()
    window: WindowConfig = WindowConfig()
    sampling: SamplingConfig = SamplingConfig()
    trigger: TriggerConfig = TriggerConfig()
    teacher: TeacherConfig = TeacherConfig()
    refresh: RefreshConfig = RefreshConfig()
    adapters: AdaptersConfig = AdaptersConfig()
    reference: ReferenceConfig = ReferenceConfig()
    groups: GroupsConfig = GroupsConfig()
    drift: DriftConfig = DriftConfig()
    labels: LabelConfig = LabelConfig()
    confirmation: ConfirmationConfig = ConfirmationConfig()
    generator: GeneratorConfig = GeneratorConfig()
    training: TrainingConfig = TrainingConfig()
    mutual: MutualConfig = MutualConfig()
    distil: DistilConfig = DistilConfig()
    compression: CompressionConfig = CompressionConfig()
    replay: ReplayConfig = ReplayConfig()
    zoo: ZooConfig = ZooConfig()
    deployment: DeploymentConfig = DeploymentConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    gate: GateConfig = GateConfig()
    link: LinkConfig = LinkConfig()
    execution: ExecutionConfig = ExecutionConfig()

    def __post_init__(self) -> None:
        names = [t.name for t in self.terminals]
        if not names:
            raise ConfigError("terminals: need at least one [[terminals]] table")
        if len(names) > MOST_TERMINALS:
            raise ConfigError(f"terminals: need at most {MOST_TERMINALS} tables, got {len(names)}")
        groups = list(dict.fromkeys(t.group for t in self.terminals if t.group is not None))
        check_distinct(groups, "terminals.group")
        formed = groups if self.groups.by == "name" else [f"group{k + 1}" for k in range(len(names))]
        folders = [group_folder(group) for group in formed] if self.groups.by != "none" else []
        check_distinct(names, "terminals.name", taken=(TEACHER, *folders))
        if self.elastic_terminals and self.elastic.supernet is None:
            asked = "elastic.in_place_of_models" if self.elastic.in_place_of_models else "latency_budget of a terminal"
            raise ConfigError(f"{asked}: set elastic.supernet to a folder that `nestevo-hw elastic build` made")

    @property
    def elastic_terminals(self) -> list[str]:
        """Terminals whose model is a path of `elastic.supernet`."""
        return [t.name for t in self.terminals if t.model is None or self.elastic.in_place_of_models]

    @property
    def fixed_models(self) -> dict[str, str]:
        """Checkpoints, by name or path, of the other terminals."""
        return {t.name: t.model for t in self.terminals if t.model is not None and not self.elastic.in_place_of_models}

    @property
    def scene_norm(self) -> bool:
        """Whether the teacher labels with BatchNorm statistics of the scene."""
        if self.teacher.labeller is not None:
            return False
        wanted = self.teacher.scene_norm
        return METHODS[self.method].confirms if wanted is None else wanted

    @property
    def confirms(self) -> bool:
        """Whether views, an ensemble and neighbouring frames confirm the teacher's labels."""
        wanted = self.labels.confirm
        return METHODS[self.method].confirms if wanted is None else wanted

    @property
    def detects_drift(self) -> bool:
        """Whether the drift of features decides about anything."""
        return "detect-drift" in METHODS[self.method].kinds

    @property
    def soft_share(self) -> float:
        """Weight of a teacher's soft targets in distillation; a labeller has none."""
        return 0.0 if self.teacher.labeller is not None else self.distil.soft_share

    @property
    def remote(self) -> list[str]:
        """Terminals whose frames arrive from elsewhere."""
        return [t.name for t in self.terminals if t.remote]

    def terminal(self, name: str) -> TerminalConfig:
        """The terminal of a name."""
        return next(t for t in self.terminals if t.name == name)

    def uploads(self, name: str) -> int:
        """Frames that a terminal uploads in a window, where no budget shares them out."""
        own = self.terminal(name).upload_frames
        return self.window.upload_frames if own is None else own

    def present(self, window: int) -> list[str]:
        """Terminals that take part in a window."""
        return [t.name for t in self.terminals if t.joins <= window and (t.leaves is None or window < t.leaves)]

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name what a run computes: the same for runs that differ only in execution."""
        told = {name: value for name, value in self.document().items() if name != "execution"}
        return hashlib.sha256(json_line(told).encode()).hexdigest()[:12]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        document: dict[str, Any] = plain(self)
        return document


forbid_unknown_keys(RunConfig)


def parse_config(document: object, *, source: str) -> RunConfig:
    """Check a configuration document and fill in defaults.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value, with its place in `source`.
    """
    _refuse_mistaken_device(document, source)
    return parse(document, RunConfig, source, error=ConfigError)


def load_config(path: Path) -> RunConfig:
    """Read a TOML configuration.

    Raises:
        ConfigError: the file is missing, not TOML, of something else than a run, or not a valid configuration.
    """
    return read_config(run_document(path), path)


def read_config(document: object, path: Path) -> RunConfig:
    """A configuration document of a file.

    Raises:
        ConfigError: it is not a valid configuration.
    """
    config = parse_config(document, source=str(path))
    return replace(config, teacher=config.teacher.recorded(path.parent))


def load_preset(name: str) -> RunConfig:
    """The configuration of a preset."""
    return parse_toml(preset_text(name), RunConfig, f"preset {name}", error=ConfigError)


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


def _refuse_mistaken_device(document: object, source: str) -> None:
    """Tell who gives the crossbar a `device` what it is called, before it is refused as just any unknown key."""
    teacher = document.get("teacher") if isinstance(document, dict) else None
    if isinstance(teacher, dict) and "device" in teacher:
        raise ConfigError(
            f"{source}: teacher.device: unknown key (got {teacher['device']!r}); the crossbar's device is "
            "teacher.analog, and execution.device is what everything computes on"
        )
