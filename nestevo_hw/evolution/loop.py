"""Windows, one after another: frames come in, the method evolves, accuracy and time are accounted for."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from nestevo_hw.base.documents import plain
from nestevo_hw.base.stats import or_nan
from nestevo_hw.evolution.dispatch import Batch
from nestevo_hw.evolution.housekeeping import tidy
from nestevo_hw.evolution.lending import with_borrowers
from nestevo_hw.evolution.lifecycle import account
from nestevo_hw.evolution.methods import Method
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.evolution.steps.camera import CaptureRequest, CaptureResult, SenseRequest
from nestevo_hw.evolution.steps.scoring import EvaluateRequest, EvaluateResult, RecallRequest, Scored
from nestevo_hw.evolution.steps.table import CAPTURE, EVALUATE, RECALL, SENSE
from nestevo_hw.evolution.window import Window
from nestevo_hw.report.records.terminal import TEACHER, Absent, Accuracy, Recall, Sense
from nestevo_hw.wire.signals import remaining_accuracy

type Captures = Batch[CaptureRequest, CaptureResult]
"""Frames of one window."""
Scores = Mapping[str, Mapping[str, float]]
"""Accuracy of each terminal's own models by stage, where it is defined."""


Windows = Callable[[Server], Iterable[int]]
"""Gives the numbers of windows from 0 on, each when its frames are there; asked again when one has ended."""


def every_window(server: Server) -> Iterable[int]:
    """The windows of streams that are read here."""
    return range(server.config.window.count)


class EvolutionLoop:
    """Drives the tasks of a run; computes nothing itself, so every result is a file that a resumed run reuses."""

    def __init__(self, server: Server, method: Method) -> None:
        self._server = server
        self._method = method
        self._config = server.config

    def run(self, windows: Windows = every_window) -> None:
        """Evolution windows, one after another, as they come."""
        ahead = self._capturing(0, remote=False)
        self._server.prepare(ahead)
        for number in windows(self._server):
            arrived = self._capturing(number, remote=True)
            self._server.dispatch.run_together(arrived)
            ahead = self._evolve(number, ahead, arrived)

    def _evolve(self, number: int, *captures: Captures) -> Captures:
        """One window, given its frames; the next one's that are read here are captured while it is scored."""
        captured = with_borrowers(self._server, self._method, number, self._captured(number, *captures))
        for name, result in captured.items():
            if result.back_to is not None:
                self._server.go_back(number, name, result.back_to)
        models = dict(self._server.models)
        teachers = {group: upkeep.teacher for group, upkeep in self._server.upkeep.items()}
        window = Window(self._server, number, {name: captured[name] for name in self._requesting(number, captured)})
        self._method.evolve(window)
        evaluating = self._evaluating(window, captured, models, teachers)
        own = [name for name in window.names if captured[name].lender is None] if window.stages else []
        evolved = {name: self._file(number, name, "upload.safetensors") for name in own}
        signals, following = self._server.baseline(number, evolved), self._capturing(number + 1, remote=False)
        self._server.dispatch.run_together(evaluating, signals, following)
        scores = self._evaluated(evaluating)
        self._recall(window, scores)
        self._server.remember_signals(signals)
        self._account(window, captured, scores)
        tidy(self._server, number)
        return following

    def _capturing(self, number: int, *, remote: bool) -> Captures:
        """To capture a window's frames of every terminal that is there; nothing after the last one.

        Args:
            number: of the window.
            remote: of those whose frames have arrived; else of those whose stream is read here, at any time.
        """
        present = self._config.present(number) if number < self._config.window.count else []
        requests = {
            name: CaptureRequest(
                frames=frames,
                upload=self._file(number, name, "upload.safetensors"),
                test=self._file(number, name, "test.safetensors"),
                truth=self._file(number, name, "truth.safetensors") if self._method.wants_truth else None,
                inbox=self._server.layout.inbox(number, name) if remote else None,
            )
            for name, frames in self._server.frames_of(present).items()
            if frames and (name in self._config.remote) == remote
        }
        return Batch(step=CAPTURE, window=number, requests=requests)

    def _captured(self, number: int, *captures: Captures) -> dict[str, CaptureResult]:
        """Of every terminal whose camera works, in the order of the configuration."""
        done = {name: finished.value for one in captures for name, finished in one.done.items()}
        captured = {name: done[name] for name in self._config.present(number) if name in done}
        for name, result in captured.items():
            if result.fault:
                self._server.journal.log(Absent(window=number, terminal=name, reason=result.fault))
        return {name: result for name, result in captured.items() if not result.fault}

    def _requesting(self, number: int, captured: Mapping[str, CaptureResult]) -> list[str]:
        """Terminals that evolve: all, or those that find their accuracy lost, and those that have their frames."""
        captured = {name: result for name, result in captured.items() if result.frames}
        own = {name: result for name, result in captured.items() if result.lender is None}
        asking = self._asking(number, own)
        return [name for name, result in captured.items() if (result.lender or name) in asking]

    def _asking(self, number: int, captured: Mapping[str, CaptureResult]) -> list[str]:
        """Of the terminals with frames of their own."""
        trigger = self._config.trigger
        if trigger.mode == "off":
            return list(captured)
        known, silent = self._server.signals, self._not_asking(number, captured)
        requests = {
            name: SenseRequest(model=self._server.models[name], frames=self._file(number, name, "upload.safetensors"))
            for name in captured
            if name in known
        }
        for name, sensed in self._server.dispatch.run(SENSE, number, requests).items():
            signals = sensed.value.signals
            remains = remaining_accuracy(signals, known[name])
            requesting = remains < 1.0 - trigger.margin
            self._server.journal.log(
                Sense(
                    window=number,
                    terminal=name,
                    remains=remains,
                    requests=requesting,
                    agreement=signals.agreement,
                    confidence=signals.confidence,
                )
            )
            if trigger.mode == "request" and not requesting:
                silent.add(name)
        return [name for name in captured if name not in silent]

    def _not_asking(self, number: int, captured: Mapping[str, CaptureResult]) -> set[str]:
        """Remote terminals, which judge themselves, that are to evolve only when they ask and have not."""
        for name, result in captured.items():
            if (told := result.estimate) is not None:
                self._server.journal.log(
                    Sense(window=number, terminal=name, requests=result.asked, **plain(told)),
                )
        remote = set(self._config.remote) if self._config.trigger.mode == "request" else set()
        return {name for name, result in captured.items() if name in remote and not result.asked}

    def _evaluating(
        self,
        window: Window,
        captured: Mapping[str, CaptureResult],
        models: Mapping[str, Path],
        teachers: Mapping[str, TeacherState],
    ) -> Batch[EvaluateRequest, EvaluateResult]:
        """To take the accuracy on later frames of the window; nothing is learned from it.

        Args:
            window: after its evolution.
            captured: of the terminals to score.
            models: what each terminal ran before the window.
            teachers: in force before the window, by group.
        """
        number = window.number
        requests = {
            name: EvaluateRequest(
                upload=self._file(number, name, "upload.safetensors"),
                test=self._file(number, name, "test.safetensors"),
                models=(
                    *self._terminals(window, name, before=models[name]),
                    *(
                        self._teachers(number, name, before=teachers[self._server.group_of[name]])
                        if captured[name].frames
                        else ()
                    ),
                ),
                truth_picture=self._server.layout.sample(number, name, "truth"),
            )
            for name in captured
        }
        return Batch(step=EVALUATE, window=number, requests=requests)

    def _evaluated(self, evaluating: Batch[EvaluateRequest, EvaluateResult]) -> Scores:
        scores: dict[str, dict[str, float]] = {}
        for name, evaluated in evaluating.done.items():
            for s in evaluated.value.scores:
                self._server.journal.log(
                    Accuracy(
                        window=evaluating.window or 0,
                        scene=name,
                        model=s.model,
                        stage=s.stage,
                        score=or_nan(s.score),
                        metrics={m: or_nan(v) for m, v in s.metrics.items()},
                        frames=s.frames,
                        scene_norm=s.scene_norm,
                    )
                )
                if s.model == name and s.score is not None:
                    scores.setdefault(name, {})[s.stage] = s.score
        return scores

    def _terminals(self, window: Window, name: str, *, before: Path) -> list[Scored]:
        """Old and new model of a terminal, the latter by ONNX Runtime too, and the one it ran in between."""
        layout, after = self._server.layout, self._server.models[name]
        models = [
            Scored(model=name, stage="before", weights=before, picture=layout.sample(window.number, name, "before"))
        ]
        if window.stages and name in window.names:
            picture = layout.sample(window.number, name, "after")
            models.append(Scored(model=name, stage="after", weights=after, picture=picture))
        if after != before:
            deployed = layout.deployed(window.number, name)
            models.append(Scored(model=name, stage="onnx", weights=after, deployed=deployed))
        if name in window.adapted_models:
            models.append(Scored(model=name, stage="adapted", weights=window.adapted_models[name]))
        return models

    def _teachers(self, number: int, name: str, *, before: TeacherState) -> list[Scored]:
        """Old teacher of a terminal, and the new one as it labels, with the scene's BatchNorm where it does."""
        start_s, after = self._config.window.start_s(number), self._server.upkeep[self._server.group_of[name]].teacher
        old = before.at(start_s)
        teachers = [Scored(model=TEACHER, stage="before", weights=old.weights, teacher=old)]
        if after is not before:
            new, norm = after.at(start_s), self._config.scene_norm
            teachers.append(Scored(model=TEACHER, stage="after", weights=new.weights, teacher=new, scene_norm=norm))
        return teachers

    def _recall(self, window: Window, scores: Scores) -> None:
        """What the new models still know of earlier windows."""
        layout, evolved = self._server.layout, [name for name in window.names if "after" in scores.get(name, ())]
        requests = {
            name: RecallRequest(
                terminal=self._server.models[name],
                tests={w: layout.window(w, name, "test.safetensors") for w in self._server.tests[name]},
            )
            for name in evolved
            if self._server.tests[name]
        }
        for name, recalled in self._server.dispatch.run(RECALL, window.number, requests).items():
            known = {w: or_nan(s) for w, s in recalled.value.scores.items()}
            self._server.journal.log(Recall(window=window.number, terminal=name, scores=known))
        for name in evolved:
            self._server.tests[name].append(window.number)
            after = scores[name]["after"]
            self._server.dispatch.gains[name] = max(after - scores[name].get("before", after), 0.0)

    def _account(self, window: Window, captured: Mapping[str, CaptureResult], scores: Scores) -> None:
        """Life-cycle performance of each terminal that evolved (eq. 6-8)."""
        for name in window.names if window.stages else ():
            self._server.journal.log(
                account(
                    name,
                    self._server.group_of,
                    window.stages,
                    window=window.number,
                    window_s=self._config.window.length_s,
                    upload_bytes=captured[name].upload_bytes,
                    link=self._config.link,
                    labelling=self._server.labelling_of(name),
                    scores=scores.get(name, {}),
                    adaptation=window.adaptation,
                )
            )

    def _file(self, number: int, name: str, file: str) -> Path:
        return self._server.layout.window(number, name, file)
