"""What a window is used for: the method of the paper, its baselines, and references to judge them by."""

from typing import Protocol

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.window import Window
from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint


class Method(Protocol):
    """One way to keep terminals accurate.

    All methods see the same frames, and those that train give a terminal the same number of optimiser steps.
    """

    name: str
    summary: str
    """One line for people."""
    wants_truth: bool
    """Whether it reads the truth of uploaded frames: then it is a reference, not a competitor."""

    def check(self, config: RunConfig) -> None:
        """Refuse terminals that the method cannot serve.

        Raises:
            ConfigError: with the reason.
        """
        ...

    def evolve(self, window: Window) -> None:
        """Evolve the terminals of a window."""
        ...


class _ServesAll:
    """What most methods share: they serve any terminals and never read the truth."""

    wants_truth = False

    def check(self, config: RunConfig) -> None:
        """See `Method.check`."""


class CoEvolution(_ServesAll):
    """Algorithm 2."""

    def __init__(self, name: str, summary: str, *, generator: bool) -> None:
        self.name = name
        self.summary = summary
        self._generator = generator

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`; the numbers are lines of Algorithm 2."""
        generated = self._generator and window.config.generator.enabled
        window.bridge()
        window.refresh()
        window.label()  # 1
        window.choose_starts()
        groups = window.drifted_groups()  # 2-3, 6
        if groups:
            if generated:
                window.generate(groups)  # 7
            window.learn_mutually(groups, generated=generated)  # 8-13
            window.label(kind="relabel", names=window.merge(groups))  # 14
        window.distil(replay=True)  # 4-5, 15-16
        window.deploy()


class Distillation(_ServesAll):
    """The unchanged teacher's words into each terminal."""

    name = "A4"
    summary = "each terminal distilled from the unchanged teacher"

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`."""
        window.refresh()
        window.label()
        window.distil()
        window.deploy()


class NoEvolution(_ServesAll):
    """Terminals as they were delivered."""

    name = "A3"
    summary = "never evolve"

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`: nothing."""


class AdversarialAdaptation(_ServesAll):
    """Domain-adversarial training of each terminal, without a teacher."""

    name = "A1"
    summary = "adversarial domain adaptation of each terminal, without a teacher"

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`."""
        window.adapt_adversarially()
        window.deploy()


class AdaptiveBatchNorm(_ServesAll):
    """The least that every other method has to beat: no label, no gradient, no server (Li et al., AdaBN, 2016)."""

    name = "AdaBN"
    summary = "each terminal with the BatchNorm statistics of its scene, and no training"

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`."""
        window.re_estimate_norms()
        window.deploy()


class SelfTraining(_ServesAll):
    """Each terminal is its own teacher."""

    name = "self-training"
    summary = "each terminal learns its own labels, made with the scene's BatchNorm statistics"

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`."""
        window.label_themselves()
        window.distil(soft_share=0.0)
        window.deploy()


class TrueLabels(_ServesAll):
    """What a perfect teacher would give."""

    name = "true-labels"
    summary = "the same frames and steps with true labels: a bound, not a competitor"
    wants_truth = True

    def evolve(self, window: Window) -> None:
        """See `Method.evolve`."""
        window.tell_the_truth()
        window.distil(soft_share=0.0)
        window.deploy()


class NaiveAverage(_ServesAll):
    """Terminals distilled as in A4, then averaged with one another without intermediate models."""

    name = "naive-average"
    summary = "terminals averaged directly, without intermediate models; only of one structure"

    def check(self, config: RunConfig) -> None:
        """Refuse terminals of different structure, whose mean is undefined (paper Table 2)."""
        shapes = {
            t.name: {n: p.shape for n, p in load_model(resolve_checkpoint(t.model))[0].state_dict().items()}
            for t in config.terminals
        }
        first, *others = shapes
        different = [name for name in others if shapes[name] != shapes[first]]
        if different:
            raise ConfigError(
                f"naive-average: terminals {first} and {different[0]} differ in structure, so the mean of their "
                "weights is undefined; that is what intermediate models are for: use NestEvo"
            )

    def evolve(self, window: Window) -> None:
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
        NoEvolution(),
        Distillation(),
        AdaptiveBatchNorm(),
        SelfTraining(),
        NaiveAverage(),
        TrueLabels(),
    )
}
