"""Windows, one after another: frames come in, the method evolves, accuracy and time are accounted for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nestevo_hw.evolution.dispatch import Results
from nestevo_hw.evolution.housekeeping import tidy
from nestevo_hw.evolution.lifecycle import account
from nestevo_hw.evolution.methods import Method
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.evolution.steps import camera, results
from nestevo_hw.evolution.subjects import subjects
from nestevo_hw.evolution.trigger import Signals, remaining_accuracy
from nestevo_hw.evolution.window import Window


class EvolutionLoop:
    """Drives the tasks of a run; computes nothing itself, so every result is a file that a resumed run reuses."""

    def __init__(self, server: Server, method: Method) -> None:
        self._server = server
        self._method = method
        self._config = server.config

    def run(self) -> None:
        """All evolution windows."""
        self._server.prepare()
        for number in range(self._config.window.count):
            self._evolve(number)

    def _evolve(self, number: int) -> None:
        captured = self._capture(number)
        models = dict(self._server.models)
        teachers = {group: upkeep.teacher for group, upkeep in self._server.upkeep.items()}
        asking = {name: captured[name] for name in self._asking(number, captured)}
        window = Window(self._server, number, asking)
        self._method.evolve(window)
        accuracy = self._evaluate(window, list(captured), models, teachers)
        self._recall(window, accuracy)
        evolved = {name: self._file(number, name, "upload.safetensors") for name in window.names if window.stages}
        self._server.remember_signals(number, evolved)
        self._account(window, captured, accuracy)
        tidy(self._server, number)

    def _capture(self, number: int) -> Results:
        """Frames of every terminal that is there and whose camera works."""
        present = self._config.present(number)
        frames = self._server.frames_of(present)
        payloads = {
            name: {
                "frames": frames[name],
                "upload": self._file(number, name, "upload.safetensors"),
                "test": self._file(number, name, "test.safetensors"),
                "truth": self._file(number, name, "truth.safetensors") if self._method.wants_truth else None,
            }
            for name in present
        }
        captured = self._server.dispatch.run(camera.capture, number, payloads)
        for name, result in captured.items():
            if result.value["fault"]:
                self._server.journal.event("absent", window=number, terminal=name, reason=result.value["fault"])
        return {name: result for name, result in captured.items() if not result.value["fault"]}

    def _asking(self, number: int, captured: Results) -> list[str]:
        """Terminals that evolve: all, or those that find their accuracy lost."""
        trigger = self._config.trigger
        if trigger.mode == "off":
            return list(captured)
        models, known = self._server.models, self._server.signals
        payloads = {
            name: {"model": str(models[name]), "frames": self._file(number, name, "upload.safetensors")}
            for name in captured
            if name in known
        }
        silent = set()
        for name, result in self._server.dispatch.run(camera.sense, number, payloads).items():
            remains = remaining_accuracy(Signals.of(result.value), known[name])
            requests = remains < 1.0 - trigger.margin
            told = {"remains": remains, "requests": requests, **result.value}
            self._server.journal.event("sense", window=number, terminal=name, **told)
            silent |= {name} if trigger.mode == "request" and not requests else set()
        return [name for name in captured if name not in silent]

    def _evaluate(
        self,
        window: Window,
        names: Sequence[str],
        models: Mapping[str, Path],
        teachers: Mapping[str, TeacherState],
    ) -> dict[tuple[str, str], float]:
        """Accuracy on later frames of the window, by (terminal, stage); nothing is learned from it.

        Args:
            window: after its evolution.
            names: terminals to score.
            models: what each terminal ran before the window.
            teachers: in force before the window, by group.
        """
        number = window.number
        start_s = self._config.window.start_s(number)
        payloads: dict[str, dict[str, Any]] = {}
        for name in names:
            group = self._server.group_of[name]
            old, new = teachers[group], self._server.upkeep[group].teacher
            payloads[name] = {
                "upload": self._file(number, name, "upload.safetensors"),
                "test": self._file(number, name, "test.safetensors"),
                "subjects": subjects(
                    self._server.layout,
                    number,
                    name,
                    terminals=(models[name], self._server.models[name]),
                    adapted=window.adapted_models.get(name),
                    teachers=(old.at(start_s), None if new is old else new.at(start_s)),
                    scene_norm=self._config.scene_norm,
                ),
            }
        accuracy = {}
        for name, result in self._server.dispatch.run(results.evaluate, number, payloads).items():
            for score in result.value["scores"]:
                self._server.journal.event("accuracy", window=number, scene=name, **score)
                if score["model"] == name and score["score"] is not None:
                    accuracy[name, score["stage"]] = score["score"]
        return accuracy

    def _recall(self, window: Window, accuracy: Mapping[tuple[str, str], float]) -> None:
        """What the new models still know of earlier windows."""
        layout, evolved = self._server.layout, [name for name in window.names if (name, "after") in accuracy]
        payloads = {
            name: {
                "terminal_out": str(self._server.models[name]),
                "tests": {w: str(layout.window(w, name, "test.safetensors")) for w in self._server.tests[name]},
            }
            for name in evolved
            if self._server.tests[name]
        }
        for name, result in self._server.dispatch.run(results.recall, window.number, payloads).items():
            self._server.journal.event("recall", window=window.number, terminal=name, scores=result.value["scores"])
        for name in evolved:
            self._server.tests[name].append(window.number)
            won = accuracy[name, "after"] - accuracy.get((name, "before"), accuracy[name, "after"])
            self._server.dispatch.gains[name] = max(won, 0.0)

    def _account(self, window: Window, captured: Results, accuracy: Mapping[tuple[str, str], float]) -> None:
        """Life-cycle performance of each terminal that evolved (eq. 6-8)."""
        for name in window.names if window.stages else ():
            life = account(
                window.stages,
                (name, self._server.group_of[name]),
                captured[name],
                before=accuracy.get((name, "before")),
                after=accuracy.get((name, "after")),
                adapted=accuracy.get((name, "adapted")),
                labelling=self._server.labelling_of(name),
                link=self._config.link,
                window_s=self._config.window.length_s,
            )
            self._server.journal.event("lifecycle", window=window.number, terminal=name, **life)

    def _file(self, number: int, name: str, file: str) -> str:
        return str(self._server.layout.window(number, name, file))
