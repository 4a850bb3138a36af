"""What a window is used for: the method of the paper, its baselines, and references to judge them by."""

from typing import TYPE_CHECKING, Protocol

from nestevo_hw.base.errors import ConfigError

if TYPE_CHECKING:
    # Command lines read the names below for their help, which must not wait for torch.
    from nestevo_hw.evolution.config import RunConfig
    from nestevo_hw.evolution.window import Window
    from nestevo_hw.tasks.corrections import Correction


class Method(Protocol):
    """One way to keep terminals accurate.

    All methods see the same frames, and those that train give a terminal the same number of optimiser steps.
    """

    name: str
    summary: str
    """One line for people."""
    kinds: tuple[str, ...]
    """Kinds of the steps that it may run in a window, for counting."""
    co_evolves: bool
    """Whether the teacher evolves."""
    confirms: bool
    """Whether the teacher labels with the scene's BatchNorm statistics and is confirmed, by default."""
    wants_truth: bool
    """Whether it reads the truth of uploaded frames: then it is a reference, not a competitor."""

    shares: bool
    """Whether terminals learn each other's frames: one that uploads nothing those of another one of its group, the
    others those of terminals that see the same kind of scene."""

    def check(self, config: "RunConfig") -> None:
        """Refuse terminals that the method cannot serve.

        Raises:
            ConfigError: with the reason.
        """
        ...

    def evolve(self, window: "Window") -> None:
        """Evolve the terminals of a window."""
        ...


class _ServesAll:
    """What most methods share: they serve any terminals and never read the truth."""

    co_evolves = False
    confirms = False
    wants_truth = False
    shares = False

    def check(self, config: "RunConfig") -> None:
        """See `Method.check`."""


class CoEvolution(_ServesAll):
    """Algorithm 2."""

    co_evolves = True
    confirms = True
    shares = True

    def __init__(self, name: str, summary: str, *, generator: bool) -> None:
        self.name = name
        self.summary = summary
        self._generator = generator
        self.kinds = (
            "adapt-batch-norm", "relate", "inspect", "program", "label", "choose", "choose-path", "detect-drift",
            *(("generate",) if generator else ()), "mutual", "merge", "adapt-unlabelled", "adapt-labelled", "relabel",
            "distil", "rank", "choose-path-again", "select", "export",
        )  # fmt: skip

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`; the numbers are lines of Algorithm 2."""
        window.adapt_batch_norm()
        window.relate()
        window.refresh()
        if window.config.drift.decision == "benefit":
            self._adapt_where_unsure(window)
        elif window.config.teacher.update == "adapt":
            self._adapt(window)
        else:
            self._program(window)
        window.distil(replay=True)  # 4-5, 15-16
        window.choose_paths()
        window.deploy()

    def _program(self, window: "Window") -> None:
        """The teacher becomes the mean of its intermediate models."""
        generated = self._generator and window.config.generator.enabled
        window.label(detecting=True)  # 1, 2
        window.choose_starts()
        groups = window.drifted_groups()  # 3, 6
        if groups:
            if generated:
                window.generate(groups)  # 7
            window.learn_mutually(groups, generated=generated)  # 8-13
            window.relabel(window.merge(groups))  # 14

    def _adapt(self, window: "Window") -> None:
        """The teacher stays on the crossbar as it is, and adapters beside it learn, without labels if it can."""
        if window.needs_no_labels:
            window.adapt_teachers(window.groups, labelled=False)
            window.label()
            window.choose_starts()
        else:
            window.label()
            window.choose_starts()
            window.relabel(window.adapt_teachers(window.groups, labelled=True))

    def _adapt_where_unsure(self, window: "Window") -> None:
        """The teacher is left as it is, or adapts without labels and labels once more."""
        window.label()
        if groups := window.unsure_groups():
            window.relabel(window.adapt_teachers(groups, labelled=False), afresh=True)
        window.choose_starts()


class TerminalsOnly(_ServesAll):
    """What Algorithm 2 does where too few terminals have drifted, always: only the terminals evolve."""

    name = "terminals-only"
    summary = "NestEvo with a teacher that stays as it is, such as a labeller"
    kinds: tuple[str, ...] = (
        "adapt-batch-norm", "relate", "inspect", "program", "label", "choose", "choose-path", "distil",
        "rank", "choose-path-again", "select", "export",
    )  # fmt: skip
    confirms = True
    shares = True
    _correction: "Correction | None" = None
    """Fault of the labels that the truth sets right."""

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.adapt_batch_norm()
        window.relate()
        window.refresh()
        window.label()
        window.choose_starts()
        if self._correction is not None:
            window.read_ground_truth(self._correction)
        window.distil(replay=True)
        window.choose_paths()
        window.deploy()


class CorrectedLabels(TerminalsOnly):
    """How much of the gap to true labels one fault of the teacher's labels is."""

    wants_truth = True

    def __init__(self, name: str, summary: str, correction: "Correction") -> None:
        self.name = name
        self.summary = summary
        self._correction = correction
        self.kinds = (*TerminalsOnly.kinds, "ground-truth")

    def check(self, config: "RunConfig") -> None:
        """Refuse a task without boxes: a frame with one class has no object that its label leaves out."""
        from nestevo_hw.tasks.capabilities import BoxLabels
        from nestevo_hw.tasks.named import task_named

        if not isinstance(task_named(config.task), BoxLabels):
            raise ConfigError(
                f"{self.name}: needs a task that finds boxes, and {config.task} does not; use true-labels"
            )


class Distillation(_ServesAll):
    """The unchanged teacher's supervision into each terminal."""

    name = "A4"
    summary = "each terminal distilled from the unchanged teacher"
    kinds: tuple[str, ...] = ("inspect", "program", "label", "distil", "select", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.refresh()
        window.label()
        window.distil()
        window.deploy()


class ModelReuse(_ServesAll):
    """The published way to learn from a teacher time and again (Khani et al., RECL, NSDI 2023), within one terminal.

    RECL's models are shared by all cameras; here structures differ, so that each terminal reuses its own.
    """

    name = "model-reuse"
    summary = "the best of each terminal's earlier models for the scene, distilled from the unchanged teacher"
    kinds: tuple[str, ...] = ("inspect", "program", "label", "choose", "distil", "select", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.refresh()
        window.label()
        window.choose_starts()
        window.distil()
        window.deploy()


class NoEvolution(_ServesAll):
    """Terminals as they were delivered."""

    name = "A3"
    summary = "never evolve"
    kinds: tuple[str, ...] = ()

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`: nothing."""


class AdversarialAdaptation(_ServesAll):
    """Domain-adversarial training of each terminal, without a teacher."""

    name = "A1"
    summary = "adversarial domain adaptation of each terminal, without a teacher"
    kinds: tuple[str, ...] = ("adapt", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.adapt_adversarially()
        window.deploy()


class AdaptiveBatchNorm(_ServesAll):
    """The least that every other method has to beat: no label, no gradient, no server (Li et al., AdaBN, 2016)."""

    name = "AdaBN"
    summary = "each terminal with the BatchNorm statistics of its scene, and no training"
    kinds: tuple[str, ...] = ("adapt-batch-norm", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.re_estimate_batch_norm()
        window.deploy()


class EntropyMinimisation(_ServesAll):
    """The published method that learns at test time without labels (Wang et al., Tent, ICLR 2021)."""

    name = "Tent"
    summary = "scale and shift of each terminal's BatchNorm, trained until it is certain of what it sees; no labels"
    kinds: tuple[str, ...] = ("adapt-scale-and-shift", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.minimise_entropy()
        window.deploy()


class SelfTraining(_ServesAll):
    """Each terminal is its own teacher."""

    name = "self-training"
    summary = "each terminal learns its own labels, made with the scene's BatchNorm statistics"
    kinds: tuple[str, ...] = ("self-label", "distil", "select", "export")

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.label_themselves()
        window.distil(soft_share=0.0)
        window.deploy()


class TrueLabels(_ServesAll):
    """What a perfect teacher would give."""

    name = "true-labels"
    summary = "the same frames and steps with true labels: a bound, not a competitor"
    kinds: tuple[str, ...] = ("ground-truth", "distil", "select", "export")
    wants_truth = True

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.read_ground_truth()
        window.distil(soft_share=0.0)
        window.deploy()


class NaiveAverage(_ServesAll):
    """Terminals distilled as in A4, then averaged with one another without intermediate models."""

    name = "naive-average"
    summary = "terminals averaged directly, without intermediate models; only of one structure"
    kinds: tuple[str, ...] = ("inspect", "program", "label", "distil", "average", "select", "export")

    def check(self, config: "RunConfig") -> None:
        """Refuse terminals of different structure, whose mean is undefined (paper Table 2)."""
        from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint

        if config.elastic_terminals:
            raise ConfigError(
                f"naive-average: terminal {config.elastic_terminals[0]} is elastic, and paths differ in structure, so "
                "the mean of their weights is undefined; use NestEvo"
            )
        shapes = {
            name: {n: p.shape for n, p in load_model(resolve_checkpoint(model))[0].state_dict().items()}
            for name, model in config.fixed_models.items()
        }
        first, *others = shapes
        different = [name for name in others if shapes[name] != shapes[first]]
        if different:
            raise ConfigError(
                f"naive-average: terminals {first} and {different[0]} differ in structure, so the mean of their "
                "weights is undefined; that is what intermediate models are for: use NestEvo"
            )

    def evolve(self, window: "Window") -> None:
        """See `Method.evolve`."""
        window.refresh()
        window.label()
        window.distil()
        window.average_terminals()
        window.deploy()


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        CoEvolution("NestEvo", "terminals, intermediate models and teacher evolve together", generator=True),
        AdversarialAdaptation(),
        CoEvolution("A2", "NestEvo without the generator", generator=False),
        TerminalsOnly(),
        NoEvolution(),
        Distillation(),
        ModelReuse(),
        AdaptiveBatchNorm(),
        EntropyMinimisation(),
        SelfTraining(),
        NaiveAverage(),
        TrueLabels(),
        CorrectedLabels("labels-completed", "as terminals-only, with the objects that the labels missed", "missed"),
        CorrectedLabels("labels-cleaned", "as terminals-only, without the labels that are wrong", "wrong"),
        CorrectedLabels("labels-placed", "as terminals-only, with right labels where their objects are", "misplaced"),
    )
}
"""Every method by its name."""
