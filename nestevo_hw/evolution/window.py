"""One evolution window: the verbs of which methods are made, each a set of tasks for the terminals that take part."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nestevo_hw.evolution.dispatch import Results, Step
from nestevo_hw.evolution.server import Lesson, Server
from nestevo_hw.evolution.steps import labels, lessons, results, teachers

CO_EVOLUTION, TERMINALS_ONLY = "co-evolution", "terminals-only"


class Window:
    """Terminals, their frames and what has been said of them, within one window.

    A terminal whose task fails for good drops out of the window and keeps its model.
    """

    def __init__(self, server: Server, number: int, captured: Results) -> None:
        """Begin.

        Args:
            server: models in force.
            number: of the window.
            captured: results of the capture, of each terminal that evolves.
        """
        self._captured = captured
        self._server = server
        self.config = server.config
        self.number = number
        self.names = list(captured)
        self.stages: list[Results] = []
        """Results of all steps that the terminals have waited for, in order."""
        self._words: dict[str, str] = {}
        self._counts: dict[str, Mapping[str, int]] = {}
        self._lessons: dict[str, str] = {name: str(server.models[name]) for name in captured}
        """Checkpoint from which each terminal's next lesson starts."""
        self._taught_mutually: set[str] = set()
        self._rounds: dict[str, dict[str, str]] = {}
        """Last round of labels on each terminal's frames; the next one counts it as well."""
        self.adapted_models: dict[str, str] = {}
        """Checkpoint that a terminal runs until it has evolved, where it is not the old one."""
        self._outcomes: dict[str, str] = {}
        """Checkpoint to deploy on each terminal."""

    @property
    def groups(self) -> list[str]:
        """Groups that still have a terminal in this window."""
        return list(dict.fromkeys(self._server.group_of[name] for name in self.names))

    def refresh(self) -> None:
        """Measure each group's teacher, and program it again where its policy says so."""
        for group in self.groups:
            self.stages += self._server.upkeep[group].refresh(self.number)

    def bridge(self) -> None:
        """BatchNorm statistics of its new frames for each terminal, to run with until it has evolved."""
        if self.config.window.batch_norm_adaptation:
            payloads = {name: self._lesson(name, outcome="adapted") for name in self.names}
            self.adapted_models = {
                name: payloads[name]["terminal_out"] for name in self._run(lessons.re_estimate, payloads)
            }

    def label(self, *, kind: str = "label", names: Collection[str] | None = None) -> None:
        """Line 1, and again with a new teacher: labels and soft targets from the crossbar."""
        asked = {
            name: {
                **self._server.teacher_of(name, self.number),
                "peers": self._peers(name),
                "spacing_s": self._captured[name].value["spacing_s"],
                "earlier": self._rounds.get(name),
                "views": self.file(name, f"{kind}-views.safetensors"),
            }
            for name in self.names
            if names is None or name in names
        }
        self._say(labels.label, kind, asked)
        if self.config.confirms:
            self._rounds |= {
                name: {"supervision": self._words[name], "views": payload["views"]}
                for name, payload in asked.items()
                if name in self.names
            }

    def label_themselves(self) -> None:
        """Each terminal labels its own frames."""
        self._say(labels.label_own, "label-own", {name: {"terminal_in": self._lessons[name]} for name in self.names})

    def tell_the_truth(self) -> None:
        """The truth in place of a teacher's words."""
        truths = {
            name: {"terminal_in": self._lessons[name], "truth": self.file(name, "truth.safetensors")}
            for name in self.names
        }
        self._say(labels.label_truly, "label-truly", truths)

    def choose_starts(self) -> None:
        """Begin with the earlier model that fits the teacher's words best, where one clearly does."""
        payloads = {
            name: {
                "candidates": [self._lessons[name], *map(str, earlier)],
                "upload": self.file(name, "upload.safetensors"),
                "supervision": self._words[name],
            }
            for name in self.names
            if (earlier := self._server.zoo[name])
        }
        for name, result in self._run(lessons.choose, payloads).items():
            self._lessons[name] = payloads[name]["candidates"][result.value["index"]]
            self._tell("reuse", terminal=name, reused=result.value["index"] > 0, scores=result.value["scores"])

    def drifted_groups(self) -> list[str]:
        """Lines 2, 3 and 6: who has drifted (eq. 11-13), and whose teacher evolves too."""
        payloads = {
            name: {
                **self._server.teacher_of(name, self.number),
                "upload": self.file(name, "upload.safetensors"),
                "moments": str(self._server.layout.moments(self._server.group_of[name])),
            }
            for name in self.names
        }
        drifted = [name for name, r in self._run(labels.judge, payloads).items() if self._judged(name, r.value)]
        return [group for group in self.groups if self._decide(group, drifted) == CO_EVOLUTION]

    def _judged(self, name: str, value: Mapping[str, Any]) -> bool:
        score, gamma = value["score"], self._server.gamma[self._server.group_of[name]]
        left_out = [self._server.classes[c - 1] for c in value["left_out"]]
        self._tell("drift", terminal=name, score=score, threshold=gamma, drifted=score > gamma, left_out=left_out)
        self._server.drift[name] = score
        return bool(score > gamma)

    def _decide(self, group: str, drifted: Collection[str]) -> str:
        members = self._members(group)
        found = len([name for name in members if name in drifted])
        epsilon = self.config.drift.epsilon or len(members) // 2 + 1
        mode = CO_EVOLUTION if found >= epsilon else TERMINALS_ONLY
        self._tell("decision", group=group, drifted=found, epsilon=epsilon, mode=mode)
        return mode

    def generate(self, groups: Sequence[str]) -> None:
        """Line 7: a feature generator for each group (Algorithm 1)."""
        payloads = {
            group: {
                "predictors": [str(self._server.intermediates[name]) for name in self._members(group)],
                "counts": self._counts_of(group),
                "supervisions": [self._words[name] for name in self._members(group)],
                "generator": self._generator(group),
            }
            for group in groups
        }
        for group, result in self._run(lessons.generate, payloads).items():
            self._tell("generator", group=group, **result.value)

    def learn_mutually(self, groups: Sequence[str], *, generated: bool) -> None:
        """Lines 8-13: each pair learns from the labels and from each other, in parallel."""
        payloads = {
            name: {
                "terminal_in": self._lessons[name],
                "intermediate_in": str(self._server.upkeep[group].teacher.weights),
                "upload": self.file(name, "upload.safetensors"),
                "supervision": self._words[name],
                "reference": str(self._server.layout.reference(group)),
                "generator": self._generator(group) if generated else None,
                "counts": self._counts_of(group),
                "terminal_out": self.file(name, "mutual.safetensors"),
                "intermediate_out": self.file(name, "intermediate.safetensors"),
            }
            for group in groups
            for name in self._members(group)
        }
        for name in self._run(lessons.mutual, payloads):
            self._lessons[name] = self.file(name, "mutual.safetensors")
            self._server.intermediates[name] = Path(self.file(name, "intermediate.safetensors"))
            self._taught_mutually.add(name)

    def merge(self, groups: Sequence[str]) -> list[str]:
        """Line 14: the mean of a group's intermediate models, guarded, on the crossbar.

        Returns:
            Terminals whose teacher is a new one.
        """
        candidates = {group: self._server.upkeep[group].candidate(self.number) for group in groups}
        payloads = {
            group: {
                **self._server.upkeep[group].at(self.number),
                "intermediates": [
                    self.file(name, "intermediate.safetensors")
                    for name in self._members(group)
                    if name in self._taught_mutually
                ],
                "reference": str(self._server.layout.reference(group)),
                "candidate": candidate.at(self.config.window.start_s(self.number)),
            }
            for group, candidate in candidates.items()
            if self._taught_mutually & set(self._members(group))
        }
        renewed = []
        for group, result in self._run(teachers.merge, payloads).items():
            value = result.value
            self._server.upkeep[group].judged(self.number, candidates[group], value)
            verdict = {k: value[k] for k in ("accepted", "gate_before", "gate_after", "reason")}
            self._tell("deploy", group=group, **verdict)
            renewed += self._members(group) if value["accepted"] else []
        return renewed

    def distil(self, *, soft_share: float | None = None, replay: bool = False) -> None:
        """Lines 4, 5, 15 and 16: the words into each terminal, on its original frames.

        A terminal that had no mutual learning gets its steps as well, so that every way costs a terminal the same.
        """
        short = self.config.distil.plan.steps
        payloads = {
            name: self._lesson(name)
            | {
                "supervision": self._words[name],
                "steps": short if name in self._taught_mutually else short + self.config.mutual.plan.steps,
                "soft_share": soft_share,
                "memories": [lesson._asdict() for lesson in self._server.lessons[name]] if replay else [],
            }
            for name in self.names
        }
        self._learned(self._run(lessons.distil, payloads), payloads)

    def adapt_adversarially(self) -> None:
        """Each terminal by domain-adversarial training, for as many steps as other methods have."""
        payloads = {
            name: self._lesson(name)
            | {
                "reference": str(self._server.layout.reference(self._server.group_of[name])),
                "steps": self.config.distil.plan.steps + self.config.mutual.plan.steps,
            }
            for name in self.names
        }
        self._learned(self._run(lessons.adapt, payloads), payloads)

    def re_estimate_norms(self) -> None:
        """The BatchNorm statistics of its own frames into each terminal."""
        payloads = {name: self._lesson(name) for name in self.names}
        self._learned(self._run(lessons.re_estimate, payloads), payloads)

    def average_terminals(self) -> None:
        """The mean of a group's terminals in place of each of them."""
        for group in self.groups:
            members = self._members(group)
            paths = [self.file(name, "terminal.safetensors") for name in members]
            mean = self.file(members[0], "average.safetensors")
            if self._run(results.average_terminals, {group: {"terminals": paths, "terminal_out": mean}}):
                self._outcomes |= dict.fromkeys(members, mean)

    def deploy(self) -> None:
        """Each terminal's new model as ONNX, and in force."""
        payloads = {
            name: {
                "terminal_out": self._outcomes[name],
                "upload": self.file(name, "upload.safetensors"),
                "onnx": self.file(name, "terminal.onnx"),
            }
            for name in self.names
        }
        for name in self._run(results.export, payloads):
            self._server.zoo[name].append(self._server.models[name])
            self._server.models[name] = Path(self._outcomes[name])
            if name in self._words:
                self._server.lessons[name].append(Lesson(self.file(name, "upload.safetensors"), self._words[name]))

    def file(self, name: str, file: str) -> str:
        """Path of a terminal's file in this window."""
        return str(self._server.layout.window(self.number, name, file))

    def _lesson(self, name: str, *, outcome: str = "terminal") -> dict[str, Any]:
        """What all lessons on a terminal's own frames have in common."""
        return {
            "terminal_in": self._lessons[name],
            "upload": self.file(name, "upload.safetensors"),
            "terminal_out": self.file(name, f"{outcome}.safetensors"),
        }

    def _learned(self, done: Results, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        self._outcomes |= {name: payloads[name]["terminal_out"] for name in done}

    def _say(self, step: Step, kind: str, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        whole = {
            name: {
                **payload,
                "upload": self.file(name, "upload.safetensors"),
                "supervision": self.file(name, f"{kind}.safetensors"),
            }
            for name, payload in payloads.items()
        }
        for name, result in self._run(step, whole, kind=kind).items():
            self._words[name] = whole[name]["supervision"]
            self._counts[name] = result.value["counts"]

    def _run(self, step: Step, payloads: Mapping[str, Mapping[str, Any]], *, kind: str = "") -> Results:
        done = self._server.dispatch.run(step, self.number, payloads, kind=kind)
        self.stages.append(done)
        self.names = [name for name in self.names if name in done or name not in payloads]
        return done

    def _peers(self, name: str) -> list[str]:
        """A further model that knows a terminal's scene: its own, or its intermediate model once that has learned."""
        learned = name in self._taught_mutually
        return [str(self._server.intermediates[name]) if learned else self._lessons[name]]

    def _members(self, group: str) -> list[str]:
        return [name for name in self.names if self._server.group_of[name] == group]

    def _counts_of(self, group: str) -> list[Mapping[str, int]]:
        return [self._counts[name] for name in self._members(group)]

    def _generator(self, group: str) -> str:
        return str(self._server.layout.of_group(self.number, group, "generator.safetensors"))

    def _tell(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        self._server.journal.event(event, window=self.number, **fields)
