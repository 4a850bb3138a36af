"""What all models of a run know, and how its teacher labels."""

from typing import TYPE_CHECKING

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.labeller import check_classes
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.models.checkpoint import read_spec, resolve_checkpoint
from nestevo_hw.models.elastic.store import read_supernet_spec
from nestevo_hw.models.onnx.foreign.labeller import Labeller
from nestevo_hw.tasks.capabilities import BoxLabels, LabelConfirmation, require
from nestevo_hw.tasks.labeller.teaching import LabellerTeaching
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import Teaching

if TYPE_CHECKING:
    from nestevo_hw.evolution.config import RunConfig


def known_classes(config: "RunConfig") -> tuple[str, ...]:
    """Classes that the terminals know, without background; their teacher knows the same."""
    for model in config.fixed_models.values():
        return read_spec(resolve_checkpoint(model)).classes
    return read_supernet_spec(config.elastic.supernet_file).classes


def teaching_of(config: "RunConfig") -> Teaching:
    """The verbs for a run's teacher: those of its task, or of a labeller."""
    task = task_named(config.task)
    return task if config.teacher.labeller is None else LabellerTeaching(task, known_classes(config))


def confirming_of(config: "RunConfig") -> LabelConfirmation:
    """The verbs that confirm the teacher's labels.

    Raises:
        ConfigError: the task cannot do that.
    """
    teaching = teaching_of(config)
    if isinstance(teaching, LabellerTeaching):
        return teaching
    return require(task_named(config.task), LabelConfirmation, "labels.confirm")


def tried_labeller(config: "RunConfig") -> Labeller:
    """The labeller of a run, which has run on a black frame.

    Raises:
        ConfigError: the method trains its teacher, the task has no boxes, or its classes are not the terminals'.
        InputError: its file is missing, damaged, or not as the adapter says.
    """
    labeller, task = config.teacher.labeller, task_named(config.task)
    if labeller is None:
        raise ConfigError("teacher.labeller: there is none")
    if METHODS[config.method].co_evolves:
        raise ConfigError(
            f"method {config.method} trains its teacher, and a labeller ({labeller.file}) cannot be trained; set "
            'method = "terminals-only", or pretrain a teacher on its labels (docs/label.md)'
        )
    if not isinstance(task, BoxLabels):
        raise ConfigError(f"teacher.labeller: it finds boxes, which task {task.name!r} has not; leave it out")
    found = labeller.open(layered=config.teacher.analog != DIGITAL)
    check_classes(labeller, found, known_classes(config))
    return found
