"""One evolution window: the verbs of which methods are made, each a set of tasks for the terminals that take part."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nestevo_hw.base.stats import or_nan
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.dispatch import Batch, Done, Stage
from nestevo_hw.evolution.drift_decision import DriftDecision
from nestevo_hw.evolution.neighbours import Neighbours
from nestevo_hw.evolution.renewal import Renewal
from nestevo_hw.evolution.rollout import Rollout
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps import table
from nestevo_hw.evolution.steps.camera import CaptureResult
from nestevo_hw.evolution.steps.deploying import AverageRequest
from nestevo_hw.evolution.steps.labels import (
    DriftRequest,
    DriftResult,
    GroundTruthRequest,
    LabelFiles,
    LabelRequest,
    LabelResult,
    SelfLabelRequest,
)
from nestevo_hw.evolution.steps.step import Request, Result, Step
from nestevo_hw.evolution.steps.training import (
    AdaptRequest,
    BatchNormRequest,
    ChooseRequest,
    DistilRequest,
    GenerateRequest,
    MutualRequest,
    ReplaySample,
)
from nestevo_hw.report.records.teacher import Generator
from nestevo_hw.report.records.terminal import Moving, Reuse
from nestevo_hw.tasks.capabilities import ClassLogits
from nestevo_hw.tasks.corrections import Correction
from nestevo_hw.tasks.named import task_named


class Window:
    """Terminals, their frames and the labels on them, within one window.

    A terminal whose task fails for good drops out of the window and keeps its model.
    """

    def __init__(self, server: Server, number: int, captured: Mapping[str, CaptureResult]) -> None:
        """Begin.

        Args:
            server: models in force.
            number: of the window.
            captured: of each terminal that evolves.
        """
        self.captured = captured
        """Of each terminal that evolves."""
        self._server = server
        self.config = server.config
        self.number = number
        self.names = list(captured)
        self.stages: list[Sequence[Stage]] = []
        """All steps that the terminals have waited for, in order; with those that ran beside them."""
        self.adaptation: Stage | None = None
        """The one of them that gave the terminals the statistics of their new frames, to run with meanwhile."""
        self._supervision: dict[str, Path] = {}
        """What each terminal learns from."""
        self._labels: dict[str, LabelResult] = {}
        """How many labels each terminal has."""
        self._starts: dict[str, Path] = {name: server.models[name] for name in captured}
        """Checkpoint from which each terminal's next training starts."""
        self._taught_mutually: set[str] = set()
        self._rounds: dict[str, LabelFiles] = {}
        """Last round of labels on each terminal's frames; the next one counts it as well."""
        self._moves: dict[str, bool] = {}
        """Whether each camera moves, by its first round of labels."""
        self.adapted_models: dict[str, Path] = {}
        """Checkpoint that a terminal runs until it has evolved, where it is not the old one."""
        self._outcomes: dict[str, Path] = {}
        """Checkpoint to deploy on each terminal."""
        self._drift = DriftDecision(self, server)
        self._neighbours = Neighbours(self, server)
        self._rollout = Rollout(self, server, self._supervision)
        self._detection: Batch[DriftRequest, DriftResult] | None = None
        """Of drift, once it has been asked for."""

    @property
    def groups(self) -> list[str]:
        """Groups that still have a terminal in this window."""
        return list(dict.fromkeys(self._server.group_of[name] for name in self.names))

    def refresh(self) -> None:
        """Measure each group's teacher, and program it again where its policy says so."""
        for group in self.groups:
            self.stages += [[stage] for stage in self._server.upkeep[group].refresh(self.number)]

    def adapt_batch_norm(self) -> None:
        """BatchNorm statistics of its new frames for each terminal, to run with until it has evolved."""
        if self.config.window.batch_norm_adaptation:
            requests = {name: self._batch_norm(name, "adapted.safetensors") for name in self.names}
            self.adapted_models = {
                name: requests[name].terminal_out for name in self.run(table.ADAPT_BATCH_NORM, requests)
            }
            (self.adaptation,) = self.stages[-1]

    def relate(self) -> None:
        """Which terminals of a group see the same kind of scene: they will learn each other's labelled frames, too."""
        self._neighbours.relate()

    def label(self, *, detecting: bool = False) -> None:
        """Line 1: pseudo-labels and soft targets from the crossbar.

        Args:
            detecting: whether drift will be asked for: on a crossbar, whose time is modelled, it is found beside this.
        """
        if detecting and self.config.teacher.analog != DIGITAL:
            self._detection = self._drift.detecting()
        self._label(table.LABEL, self.names, self._detection)

    def relabel(self, names: Collection[str], *, afresh: bool = False) -> None:
        """The same again with a new teacher.

        Args:
            names: of terminals.
            afresh: what the old one saw no longer counts.
        """
        if afresh:
            self._rounds = {name: files for name, files in self._rounds.items() if name not in names}
        self._label(table.RELABEL, [name for name in self.names if name in names])

    def _label(
        self, step: Step[LabelRequest, LabelResult], names: Sequence[str], beside: Batch[Any, Any] | None = None
    ) -> None:
        requests = {
            name: LabelRequest(
                teacher=self._server.teacher_of(name, self.number),
                upload=self.file(name, "upload.safetensors"),
                ensemble=(self._partner(name),),
                spacing_s=self.captured[name].spacing_s,
                earlier=self._rounds.get(name),
                moves=self._moves.get(name),
                out=LabelFiles(
                    supervision=self.file(name, f"{step.kind}.safetensors"),
                    views=self.file(name, f"{step.kind}-views.safetensors"),
                ),
            )
            for name in names
        }
        batch = self._batch(step, requests)
        self.run_together(batch, *([] if beside is None else [beside]))
        done = {name: batch.done[name] for name in self.names if name in batch.done}
        self._labelled(done, {name: request.out.supervision for name, request in requests.items()})
        if self.config.confirms:
            self._rounds |= {name: requests[name].out for name in done}
            for name in (name for name, one in done.items() if one.value.moves and name not in self._moves):
                self._server.journal.log(Moving(window=self.number, terminal=name))
            self._moves |= {name: labelled.value.moves for name, labelled in done.items()}

    def label_themselves(self) -> None:
        """Each terminal labels its own frames."""
        out = {name: self.file(name, "self-label.safetensors") for name in self.names}
        requests = {
            name: SelfLabelRequest(model=self._starts[name], upload=self.file(name, "upload.safetensors"), out=path)
            for name, path in out.items()
        }
        self._labelled(self.run(table.SELF_LABEL, requests), out)

    def read_ground_truth(self, correction: Correction | None = None) -> None:
        """The truth in place of a teacher's labels.

        Args:
            correction: set only this fault of theirs right.
        """
        out = {name: self.file(name, "ground-truth.safetensors") for name in self.names}
        requests = {
            name: GroundTruthRequest(
                model=self._starts[name], truth=self.file(name, "truth.safetensors"), out=path,
                labels=None if correction is None else self._supervision[name], correction=correction or "missed",
            )
            for name, path in out.items()
        }  # fmt: skip
        self._labelled(self.run(table.GROUND_TRUTH, requests), out)

    def _labelled(self, done: Done[LabelResult], supervision: Mapping[str, Path]) -> None:
        for name, labelled in done.items():
            self._supervision[name] = supervision[name]
            self._labels[name] = labelled.value

    def choose_starts(self) -> None:
        """Begin with the earlier model, or the path, that fits the teacher's labels best, where one clearly does."""
        requests = {
            name: ChooseRequest(
                candidates=(self._starts[name], *earlier),
                upload=self.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
            )
            for name in self.names
            if (earlier := self._server.zoo[name])
        }
        for name, chosen in self.run(table.CHOOSE, requests).items():
            index, scores = chosen.value.index, tuple(or_nan(s) for s in chosen.value.scores)
            self._starts[name] = requests[name].candidates[index]
            self._server.journal.log(Reuse(window=self.number, terminal=name, reused=index > 0, scores=scores))
        self._starts |= self._server.paths.choose_to_train(self, self._starts, self._supervision)

    def choose_paths(self) -> None:
        """After a training: each elastic terminal's evolved model, or another path that does clearly better."""
        self._outcomes |= self._server.paths.choose_to_deploy(self, self._outcomes, self._supervision)

    def held_back(self, name: str) -> int:
        """Uploaded frames of a terminal that no training sees."""
        frames = self.captured[name].frames
        return frames - self.config.deployment.taught(frames)

    def drifted_groups(self) -> list[str]:
        """Lines 2, 3 and 6: who has drifted (eq. 11-13), and whose teacher evolves too."""
        if self._detection is None:
            self._detection = self._drift.detecting()
            self.run_together(self._detection)
        done = self._detection.done
        return self._drift.groups({name: done[name].value for name in self.names if name in done})

    def generate(self, groups: Sequence[str]) -> None:
        """Line 7: a feature generator for each group (Algorithm 1)."""
        requests = {
            group: GenerateRequest(
                intermediates=tuple(self._server.intermediates[name] for name in self.contributing(group)),
                counts=self._counts_of(group),
                supervision=tuple(self._supervision[name] for name in self.contributing(group)),
                generator=self._generator(group),
            )
            for group in groups
        }
        for group, generated in self.run(table.GENERATE, requests).items():
            loss, effect = generated.value.label_loss, asdict(generated.value.effect)
            self._server.journal.log(Generator(window=self.number, group=group, label_loss=loss, **effect))

    def learn_mutually(self, groups: Sequence[str], *, generated: bool) -> None:
        """Lines 8-13: each pair learns from the labels and from each other, in parallel."""
        requests = {
            name: MutualRequest(
                terminal=self._starts[name],
                intermediate=self._server.upkeep[group].teacher.weights,
                upload=self.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
                reference=self._server.upkeep[group].reference,
                generator=self._generator(group) if generated else None,
                counts=self._counts_of(group),
                terminal_out=self.file(name, "mutual.safetensors"),
                intermediate_out=self.file(name, "intermediate.safetensors"),
            )
            for group in groups
            for name in self.contributing(group)
        }
        for name in self.run(table.MUTUAL, requests):
            self._starts[name] = requests[name].terminal_out
            self._server.intermediates[name] = requests[name].intermediate_out
            self._taught_mutually.add(name)

    def merge(self, groups: Sequence[str]) -> list[str]:
        """Line 14: the mean of a group's intermediate models, on the crossbar, if it passes the validation gate.

        Returns:
            Terminals whose teacher is a new one.
        """
        return Renewal(self, self._server).merge(groups, self._taught_mutually)

    @property
    def needs_no_labels(self) -> bool:
        """Whether a teacher can adapt before it has labelled anything."""
        return isinstance(task_named(self.config.task), ClassLogits)

    def unsure_groups(self) -> list[str]:
        """Whose teacher is worth its adaptation, in place of lines 2, 3 and 6."""
        return self._drift.unsure({name: self._labels[name].counts for name in self.names})

    def adapt_teachers(self, groups: Sequence[str], *, labelled: bool) -> list[str]:
        """Digital adapters of each group's teacher for the scenes of its terminals, in place of lines 7 to 14.

        Args:
            groups: whose teacher adapts.
            labelled: learn the labels that the terminals have; else none are needed.

        Returns:
            Terminals whose teacher has adapted.
        """
        return Renewal(self, self._server).adapt(groups, self._supervision if labelled else None)

    def distil(self, *, soft_share: float | None = None, replay: bool = False) -> None:
        """Lines 4, 5, 15 and 16: the teacher's supervision into each terminal, on its original frames.

        A terminal that had no mutual learning gets its steps as well, so that every way costs a terminal the same.
        """
        short = self.config.distil.plan.steps
        requests = {
            name: DistilRequest(
                terminal=self._starts[name],
                upload=self.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
                terminal_out=self.file(name, "terminal.safetensors"),
                steps=short if name in self._taught_mutually else short + self.config.mutual.plan.steps,
                soft_share=soft_share,
                replay=tuple(self._server.replay[name]) if replay else (),
                neighbours=self._of_neighbours(name),
            )
            for name in self.names
        }
        batch = self._batch(table.DISTIL, requests)
        self.run_together(batch, self._rollout.ranking())
        self._outcomes |= {name: requests[name].terminal_out for name in batch.done}

    def adapt_adversarially(self) -> None:
        """Each terminal by domain-adversarial training, for as many steps as other methods have."""
        requests = {
            name: AdaptRequest(
                terminal=self._starts[name],
                upload=self.file(name, "upload.safetensors"),
                reference=self._server.upkeep[self._server.group_of[name]].reference,
                terminal_out=self.file(name, "terminal.safetensors"),
                steps=self.config.distil.plan.steps + self.config.mutual.plan.steps,
            )
            for name in self.names
        }
        self._outcomes |= {name: requests[name].terminal_out for name in self.run(table.ADAPT, requests)}

    def minimise_entropy(self) -> None:
        """Scale and shift of each terminal's BatchNorm, learned without labels, for as many steps as others have."""
        steps = self.config.distil.plan.steps + self.config.mutual.plan.steps
        requests = {name: replace(self._batch_norm(name, "terminal.safetensors"), steps=steps) for name in self.names}
        done = self.run(table.ADAPT_SCALE_AND_SHIFT, requests)
        self._outcomes |= {name: requests[name].terminal_out for name in done}

    def re_estimate_batch_norm(self) -> None:
        """The BatchNorm statistics of its own frames into each terminal, and nothing else."""
        requests = {name: self._batch_norm(name, "terminal.safetensors") for name in self.names}
        self._outcomes |= {name: requests[name].terminal_out for name in self.run(table.ADAPT_BATCH_NORM, requests)}

    def average_terminals(self) -> None:
        """The mean of a group's terminals in place of each of them."""
        for group in self.groups:
            members = self.members(group)
            paths = tuple(self.file(name, "terminal.safetensors") for name in members)
            mean = self.file(members[0], "average.safetensors")
            if self.run(table.AVERAGE, {group: AverageRequest(terminals=paths, terminal_out=mean)}):
                self._outcomes |= dict.fromkeys(members, mean)

    def deploy(self) -> None:
        """The best of the models that each terminal could run now, as ONNX and in force; the old one just stays."""
        self._rollout.deploy(self._outcomes)

    def file(self, name: str, file: str) -> Path:
        """Path of a terminal's file in this window."""
        return self._server.layout.window(self.number, name, file)

    def _batch_norm(self, name: str, out: str) -> BatchNormRequest:
        upload = self.file(name, "upload.safetensors")
        return BatchNormRequest(terminal=self._starts[name], upload=upload, terminal_out=self.file(name, out))

    def run[Q: Request, R: Result](self, step: Step[Q, R], requests: Mapping[str, Q]) -> Done[R]:
        """Run one step for terminals or groups, which wait for all of it; whose task fails for good drops out."""
        batch = self._batch(step, requests)
        self.run_together(batch)
        return batch.done

    def _batch[Q: Request, R: Result](self, step: Step[Q, R], requests: Mapping[str, Q]) -> Batch[Q, R]:
        return Batch(step=step, window=self.number, requests=requests)

    def run_together(self, *batches: Batch[Any, Any]) -> None:
        """The same with steps side by side."""
        self._server.dispatch.run_together(*batches)
        self.stages.append([Stage(step=batch.step, done=batch.done) for batch in batches])
        for batch in batches:
            self.names = [name for name in self.names if name in batch.done or name not in batch.requests]

    def _partner(self, name: str) -> Path:
        """A further model that knows a terminal's scene: its own, or its intermediate model once that has learned."""
        return self._server.intermediates[name] if name in self._taught_mutually else self._starts[name]

    def members(self, group: str) -> list[str]:
        """Terminals of a group that are still in this window."""
        return [name for name in self.names if self._server.group_of[name] == group]

    def contributing(self, group: str) -> list[str]:
        """Those of them whose frames are their own: what one camera has seen counts once."""
        return [name for name in self.members(group) if self.captured[name].lender is None]

    def _of_neighbours(self, name: str) -> tuple[ReplaySample, ...]:
        """The labelled frames of the terminals of its group that see the same kind of scene."""
        return tuple(
            ReplaySample(upload=self.file(other, "upload.safetensors"), supervision=self._supervision[other])
            for other in self._neighbours.of(name)
        )

    def _counts_of(self, group: str) -> tuple[Mapping[int, int], ...]:
        return tuple(self._labels[name].taught for name in self.contributing(group))

    def _generator(self, group: str) -> Path:
        return self._server.layout.of_group(self.number, group, "generator.safetensors")
