"""Co-evolution of terminals and their global teacher (Algorithm 2), one window after another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.lifecycle import account
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.models.checkpoint import resolve_checkpoint
from nestevo_hw.scheduler.task import Task, TaskResult

Results = Mapping[str, TaskResult]
"""Results of one kind of task, by terminal; "" where the task serves all."""

CO_EVOLUTION, TERMINALS_ONLY = "co-evolution", "terminals-only"


class EvolutionLoop:
    """Drives the tasks of a run; computes nothing itself, so every result is a file that a resumed run reuses."""

    def __init__(self, config: RunConfig, layout: RunLayout, journal: Journal, costs: TaskCosts) -> None:
        self._config = config
        self._layout = layout
        self._journal = journal
        self._costs = costs
        self._document = config.document()
        self._names = [t.name for t in config.terminals]
        self._terminals = {t.name: resolve_checkpoint(t.model) for t in config.terminals}
        self._teacher = TeacherState(
            weights=resolve_checkpoint(config.teacher.model),
            crossbar=layout.root / "crossbar-0.safetensors",
            programmed_s=-config.teacher.age_s,
            generation=0,
        )
        self._words: dict[str, str] = {}
        self._intermediates = [self._teacher.weights] * len(self._names)
        self._gamma = float("nan")
        self.classes: list[str] = []

    def run(self) -> None:
        """All evolution windows."""
        self._prepare()
        for window in range(self._config.window.count):
            self._evolve(window)

    def _evolve(self, window: int) -> None:
        """One evolution window; the numbers are lines of Algorithm 2."""
        terminals_before, teacher_before = dict(self._terminals), self._teacher
        captured = self._capture(window)
        done: list[Results] = []
        if self._config.method != "A3":
            labelled = self._label(window, "label")  # 1
            done.append(labelled)
            co_evolution = self._decide(window) == CO_EVOLUTION  # 2-3, 6
            if co_evolution:
                counts = [labelled[name].value["counts"] for name in self._names]
                generated = self._generate(window, counts)  # 7
                learned = self._learn_mutually(window, counts)  # 8-13
                merged = self._merge(window)  # 14
                renewed = self._teacher is not teacher_before
                relabelled = self._label(window, "relabel") if renewed else labelled
                done += [generated, learned, merged, relabelled]
            done += [self._distil(window, co_evolution=co_evolution), self._export(window)]  # 4-5, 15-16
        accuracy = self._evaluate(window, terminals_before, teacher_before)
        self._account(window, captured, done, accuracy)

    def _now_s(self, window: int) -> float:
        return window * self._config.window.length_s

    def _task(self, kind: str, window: int | None, terminal: str, payload: Mapping[str, Any]) -> Task:
        name = "/".join(["setup" if window is None else f"w{window}", kind, *([terminal] if terminal else [])])
        cost = self._costs.predict(kind, terminal, payload.get("steps"))
        return Task(
            name=name,
            function=f"nestevo_hw.evolution.steps:{kind.removeprefix('re')}",
            payload={
                "config": self._document,
                "name": name,
                "terminal": terminal,
                "window": window,
                **payload,
            },
            memory_bytes=cost.memory_bytes,
            duration_s=cost.duration_s,
        )

    def _run(self, kind: str, window: int | None, payloads: Mapping[str, Mapping[str, Any]]) -> Results:
        """Run one kind of task for each terminal (or once, for ""), all at the scheduler's discretion."""
        tasks = {terminal: self._task(kind, window, terminal, p) for terminal, p in payloads.items()}
        results = self._journal.run(list(tasks.values()), window=window)
        for terminal, task in tasks.items():
            self._costs.observe(kind, terminal, results[task.name], task.payload.get("steps"))
        return {terminal: results[task.name] for terminal, task in tasks.items()}

    def _file(self, window: int, terminal: str, name: str) -> str:
        return str(self._layout.window(window, terminal, name))

    def _prepare(self) -> None:
        teacher = self._teacher
        payload = {
            **teacher.at(0.0),
            "reference": str(self._layout.reference),
            "moments": str(self._layout.moments),
        }
        value = self._run("prepare", None, {"": payload})[""].value
        self._gamma, self.classes = value["gamma"], value["classes"]
        self._tell_programmed(None, teacher, value)
        profiles = {t.name: {"model": str(self._terminals[t.name]), **teacher.at(0.0)} for t in self._config.terminals}
        self._costs.learn(self._run("profile", None, profiles))

    def _tell_programmed(self, window: int | None, teacher: TeacherState, value: Mapping[str, Any]) -> None:
        if "tiles" in value:
            self._journal.event(
                "program",
                window=window,
                generation=teacher.generation,
                device=self._config.teacher.device,
                tile=self._config.teacher.tile,
                tiles=value["tiles"],
                weight_error=value["weight_error"],
                age_s=max(0.0, -teacher.programmed_s),
            )

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
                **self._teacher.at(self._now_s(window)),
                "upload": self._file(window, name, "upload.safetensors"),
                "supervision": self._file(window, name, f"{kind}.safetensors"),
                "scene_norm": self._scene_norm,
            }
            for name in self._names
        }
        self._words = {name: payloads[name]["supervision"] for name in self._names}
        return self._run(kind, window, payloads)

    @property
    def _scene_norm(self) -> bool:
        return self._config.teacher.scene_norm and self._config.method == "NestEvo"

    def _decide(self, window: int) -> str:
        """Lines 2, 3 and 6: who has drifted (eq. 11-13), and whether the teacher evolves too."""
        payloads = {
            name: {
                **self._teacher.at(self._now_s(window)),
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
                "intermediate_in": str(self._teacher.weights),
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
        candidate = TeacherState(
            weights=self._layout.window(window, "teacher.safetensors"),
            crossbar=self._layout.window(window, "crossbar.safetensors"),
            programmed_s=self._now_s(window),
            generation=self._teacher.generation + 1,
        )
        payload = {
            **self._teacher.at(self._now_s(window)),
            "intermediates": [str(path) for path in self._intermediates],
            "reference": str(self._layout.reference),
            "candidate": candidate.at(self._now_s(window)),
            "generation": candidate.generation,
        }
        results = self._run("merge", window, {"": payload})
        value = results[""].value
        self._tell_programmed(window, candidate, value)
        self._journal.event(
            "deploy",
            window=window,
            **{k: value[k] for k in ("accepted", "guard_before", "guard_after", "reason")},
        )
        if value["accepted"]:
            self._teacher = candidate
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
        payloads = {}
        for name in self._names:
            teacher = {"model": "teacher", "runtime": "crossbar", "scene_norm": self._scene_norm}
            subjects = [
                {
                    "model": name, "stage": "before", "runtime": "torch",
                    "weights": str(terminals_before[name]), "picture": str(self._layout.sample(window, name, "before")),
                },
                {**teacher, "stage": "before", "scene_norm": False, **teacher_before.at(self._now_s(window))},
            ]  # fmt: skip
            if self._config.method != "A3":
                own = str(self._terminals[name])
                subjects += [
                    {
                        "model": name, "stage": "after", "runtime": "torch",
                        "weights": own, "picture": str(self._layout.sample(window, name, "after")),
                    },
                    {
                        "model": name, "stage": "onnx", "runtime": "onnx",
                        "weights": own, "onnx": self._file(window, name, "terminal.onnx"),
                    },
                ]  # fmt: skip
            if self._teacher is not teacher_before:
                subjects.append({**teacher, "stage": "after", **self._teacher.at(self._now_s(window))})
            payloads[name] = {
                "upload": self._file(window, name, "upload.safetensors"),
                "test": self._file(window, name, "test.safetensors"),
                "subjects": subjects,
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
