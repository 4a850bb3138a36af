"""Co-evolution of terminals and their global teacher (Algorithm 2), one window after another."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch, Results
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.lifecycle import account
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.evolution.subjects import subjects
from nestevo_hw.evolution.upkeep import Upkeep
from nestevo_hw.models.checkpoint import resolve_checkpoint

CO_EVOLUTION, TERMINALS_ONLY = "co-evolution", "terminals-only"


class EvolutionLoop:
    """Drives the tasks of a run; computes nothing itself, so every result is a file that a resumed run reuses."""

    def __init__(self, config: RunConfig, layout: RunLayout, journal: Journal, costs: TaskCosts) -> None:
        self._config = config
        self._layout = layout
        self._journal = journal
        self._costs = costs
        self._dispatch = Dispatch(config, journal, costs)
        self._run = self._dispatch.run
        self._upkeep = Upkeep(config, layout, journal, self._dispatch)
        self._names = [t.name for t in config.terminals]
        self._terminals = {t.name: resolve_checkpoint(t.model) for t in config.terminals}
        self._words: dict[str, str] = {}
        self._intermediates = [self._upkeep.teacher.weights] * len(self._names)
        self._gamma = float("nan")
        self.classes: list[str] = []

    def run(self) -> None:
        """All evolution windows."""
        self._prepare()
        for window in range(self._config.window.count):
            self._evolve(window)

    def _evolve(self, window: int) -> None:
        """One evolution window; the numbers are lines of Algorithm 2."""
        captured = self._capture(window)
        evolves = self._config.method != "A3"
        done = self._upkeep.refresh(window) if evolves else []
        terminals_before, teacher_before = dict(self._terminals), self._upkeep.teacher
        if evolves:
            labelled = self._label(window, "label")  # 1
            done.append(labelled)
            co_evolution = self._decide(window) == CO_EVOLUTION  # 2-3, 6
            if co_evolution:
                counts = [labelled[name].value["counts"] for name in self._names]
                generated = self._generate(window, counts)  # 7
                learned = self._learn_mutually(window, counts)  # 8-13
                merged = self._merge(window)  # 14
                renewed = self._upkeep.teacher is not teacher_before
                relabelled = self._label(window, "relabel") if renewed else labelled
                done += [generated, learned, merged, relabelled]
            done += [self._distil(window, co_evolution=co_evolution), self._export(window)]  # 4-5, 15-16
        accuracy = self._evaluate(window, terminals_before, teacher_before)
        self._account(window, captured, done, accuracy)

    def _file(self, window: int, terminal: str, name: str) -> str:
        return str(self._layout.window(window, terminal, name))

    def _prepare(self) -> None:
        teacher = self._upkeep.at(0)
        payload = {**teacher, "reference": str(self._layout.reference), "moments": str(self._layout.moments)}
        value = self._run("prepare", None, {"": payload})[""].value
        self._gamma, self.classes = value["gamma"], value["classes"]
        self._upkeep.programmed_first(value)
        profiles = {t.name: {"model": str(self._terminals[t.name]), **teacher} for t in self._config.terminals}
        self._costs.learn(self._run("profile", None, profiles))

    def _capture(self, window: int) -> Results:
        files = {
            name: {
                "upload": self._file(window, name, "upload.safetensors"),
                "test": self._file(window, name, "test.safetensors"),
            }
            for name in self._names
        }
        return self._run("capture", window, files)

    def _label(self, window: int, kind: str) -> Results:
        """Line 1, and again with the new teacher: labels and soft targets from the crossbar."""
        payloads = {
            name: {
                **self._upkeep.at(window),
                "upload": self._file(window, name, "upload.safetensors"),
                "supervision": self._file(window, name, f"{kind}.safetensors"),
            }
            for name in self._names
        }
        self._words = {name: payloads[name]["supervision"] for name in self._names}
        return self._run(kind, window, payloads, function="label")

    def _decide(self, window: int) -> str:
        """Lines 2, 3 and 6: who has drifted (eq. 11-13), and whether the teacher evolves too."""
        payloads = {
            name: {
                **self._upkeep.at(window),
                "upload": self._file(window, name, "upload.safetensors"),
                "moments": str(self._layout.moments),
            }
            for name in self._names
        }
        drifted = 0
        for name, result in self._run("judge", window, payloads).items():
            score, left_out = result.value["score"], result.value["left_out"]
            drifted += score > self._gamma
            self._journal.event(
                "drift",
                window=window,
                terminal=name,
                score=score,
                threshold=self._gamma,
                drifted=score > self._gamma,
                left_out=[self.classes[c - 1] for c in left_out],
            )
        epsilon = self._config.drift.epsilon or len(self._names) // 2 + 1
        mode = CO_EVOLUTION if self._config.method == "NestEvo" and drifted >= epsilon else TERMINALS_ONLY
        self._journal.event("decision", window=window, drifted=drifted, epsilon=epsilon, mode=mode)
        return mode

    def _generate(self, window: int, counts: Sequence[Mapping[str, int]]) -> Results:
        """Line 7: the feature generator (Algorithm 1)."""
        if not self._config.generator.enabled:
            return {}
        payload = {
            "predictors": [str(path) for path in self._intermediates],
            "counts": list(counts),
            "generator": self._file(window, "", "generator.safetensors"),
        }
        results = self._run("generate", window, {"": payload})
        self._journal.event("generator", window=window, **results[""].value)
        return results

    def _learn_mutually(self, window: int, counts: Sequence[Mapping[str, int]]) -> Results:
        """Lines 8-13: each pair learns from the labels and from each other, in parallel."""
        generator = self._file(window, "", "generator.safetensors") if self._config.generator.enabled else None
        payloads = {
            name: {
                "terminal_in": str(self._terminals[name]),
                "intermediate_in": str(self._upkeep.teacher.weights),
                "upload": self._file(window, name, "upload.safetensors"),
                "supervision": self._words[name],
                "reference": str(self._layout.reference),
                "generator": generator,
                "counts": list(counts),
                "terminal_out": self._file(window, name, "mutual.safetensors"),
                "intermediate_out": self._file(window, name, "intermediate.safetensors"),
            }
            for name in self._names
        }
        results = self._run("mutual", window, payloads)
        self._intermediates = [self._layout.window(window, name, "intermediate.safetensors") for name in self._names]
        return results

    def _merge(self, window: int) -> Results:
        """Line 14: the mean of the intermediate models, guarded, on the crossbar."""
        candidate = self._upkeep.candidate(window)
        payload = {
            **self._upkeep.at(window),
            "intermediates": [str(path) for path in self._intermediates],
            "reference": str(self._layout.reference),
            "candidate": candidate.at(self._config.window.start_s(window)),
        }
        results = self._run("merge", window, {"": payload})
        value = results[""].value
        self._upkeep.judged(window, candidate, value)
        verdict = {k: value[k] for k in ("accepted", "guard_before", "guard_after", "reason")}
        self._journal.event("deploy", window=window, **verdict)
        return results

    def _distil(self, window: int, *, co_evolution: bool) -> Results:
        """Lines 4, 5, 15 and 16: the teacher's words into each terminal, on its original frames.

        A terminal that had no mutual learning gets its steps as well, so that both ways cost a terminal the same.
        """
        plan = self._config.distil.plan
        steps = plan.steps if co_evolution else plan.steps + self._config.mutual.plan.steps
        payloads = {}
        for name in self._names:
            start = self._file(window, name, "mutual.safetensors") if co_evolution else str(self._terminals[name])
            payloads[name] = {
                "terminal_in": start,
                "upload": self._file(window, name, "upload.safetensors"),
                "supervision": self._words[name],
                "terminal_out": self._file(window, name, "terminal.safetensors"),
                "steps": steps,
            }
        results = self._run("distil", window, payloads)
        self._terminals = {name: self._layout.window(window, name, "terminal.safetensors") for name in self._names}
        return results

    def _export(self, window: int) -> Results:
        payloads = {
            name: {
                "terminal": str(self._terminals[name]),
                "upload": self._file(window, name, "upload.safetensors"),
                "onnx": self._file(window, name, "terminal.onnx"),
            }
            for name in self._names
        }
        return self._run("export", window, payloads)

    def _evaluate(
        self, window: int, terminals_before: Mapping[str, Path], teacher_before: TeacherState
    ) -> dict[tuple[str, str], float]:
        """Accuracy on later frames of the window, by (terminal, stage); nothing is learned from it."""
        old, new = teacher_before, self._upkeep.teacher
        start_s = self._config.window.start_s(window)
        payloads = {
            name: {
                "upload": self._file(window, name, "upload.safetensors"),
                "test": self._file(window, name, "test.safetensors"),
                "subjects": subjects(
                    self._layout,
                    window,
                    name,
                    terminals=(terminals_before[name], self._terminals[name]),
                    teachers=(old.at(start_s), None if new is old else new.at(start_s)),
                    scene_norm=self._config.scene_norm,
                ),
            }
            for name in self._names
        }
        accuracy = {}
        for name, result in self._run("evaluate", window, payloads).items():
            for score in result.value["scores"]:
                self._journal.event("accuracy", window=window, scene=name, **score)
                if score["model"] == name and score["map50"] is not None:
                    accuracy[name, score["stage"]] = score["map50"]
        return accuracy

    def _account(
        self, window: int, captured: Results, done: Sequence[Results], accuracy: Mapping[tuple[str, str], float]
    ) -> None:
        """Life-cycle performance of each terminal (eq. 6-8)."""
        for name in self._names:
            own = [r[key] for r in done for key in (name, "") if key in r]
            if own:
                before, after = accuracy.get((name, "before")), accuracy.get((name, "after"))
                life = account(own, captured[name], before, after, self._config.link, self._config.window.length_s)
                self._journal.event("lifecycle", window=window, terminal=name, **life)
