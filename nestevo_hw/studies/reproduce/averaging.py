"""What becomes of terminals that are averaged with one another (tables 2 and 3)."""

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.evolution.learning import Seed, distil
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.scenes import TASK, Camera, mean_of, model_named, scores, teacher
from nestevo_hw.tasks.supervision import LabelConfig

FRAME_SHARES = {"B": 2 / 3, "C": 1 / 3}
"""Of the frames of A's camera, which has 30 frames a second to B's 20 and C's 10."""
STREETS = {
    "A": ("campus", "campus"),
    "B": ("campus", "campus"),
    "C": ("campus", "campus"),
    "D": ("village", "village"),
    "E": ("back", "campus"),
}
"""Camera and place of each video: A to C are one street, D lies in the country, E on the campus."""
DARK = ("E", "A", "D")
"""Video that is of the night, at each point in time."""
EXPERIMENTS: Mapping[int, tuple[tuple[str, str], ...]] = {
    1: (("M1", "A"), ("M1", "A"), ("M1", "A")), 2: (("M1", "A"), ("M1", "B"), ("M1", "C")),
    3: (("M1", "A"), ("M1", "D"), ("M1", "E")), 4: (("M2", "A"), ("M2", "D"), ("M2", "E")),
    5: (("M3", "A"), ("M3", "D"), ("M3", "E")), 6: (("M1", "A"), ("M2", "A"), ("M3", "A")),
    7: (("M1", "A"), ("M2", "D"), ("M3", "E")), 8: (("M1", "D"), ("M2", "E"), ("M3", "A")),
}  # fmt: skip
"""Table 2: the model and the video of each of three terminals."""
METRICS = ("map", "map50", "map75")
HETEROGENEOUS = {"M1": 3, "M2": 4}
"""Experiment of table 2 that table 3 repeats at further points in time."""


def averages(effort: Effort, seed: int) -> dict[str, float]:
    """Terminals distilled from the digital teacher on their videos, and their averages on all their videos."""
    found: dict[str, float] = {}
    pupils = _Pupils(effort, seed)
    for number, members in EXPERIMENTS.items():
        found |= {f"{model}/{video}": pupils.own(model, video, 1)["map50"] for model, video in members}
        found[f"experiment-{number}"] = pupils.together(members, 1)["map50"]
    for model, number in HETEROGENEOUS.items():
        for time in range(1, effort.times + 1):
            members = EXPERIMENTS[number]
            own = [pupils.own(model, video, time) for _, video in members]
            merged = pupils.together(members, time)
            for metric in METRICS:
                found[f"{model}/t{time}/{metric}"] = merged[metric]
                found[f"{model}/t{time}/{metric}-loss"] = mean_of([each[metric] for each in own]) - merged[metric]
    return found


class _Pupils:
    """Distilled terminals, each trained once."""

    def __init__(self, effort: Effort, seed: int) -> None:
        self._effort, self._seed = effort, seed
        self._models: dict[tuple[str, str, int], nn.Module] = {}
        self._scores: dict[tuple[str, str, int], dict[str, float]] = {}

    def own(self, model: str, video: str, time: int) -> dict[str, float]:
        """Scores on its own video."""
        key = model, video, time
        if key not in self._scores:
            self._scores[key] = scores(self._trained(*key), _camera(video, time).later(self._seed, self._effort))
        return self._scores[key]

    def together(self, members: Sequence[tuple[str, str]], time: int) -> dict[str, float]:
        """Scores of the members' average on all their videos."""
        if len(set(members)) == 1:
            return self.own(*members[0], time)
        states = [self._trained(model, video, time).state_dict() for model, video in members]
        merged = model_named(max(model for model, _ in members))
        merged.load_state_dict(average(cut_to_common(states)))
        videos = dict.fromkeys(video for _, video in members)
        return scores(merged, concatenate([_camera(v, time).later(self._seed, self._effort) for v in videos]))

    def _trained(self, model: str, video: str, time: int) -> nn.Module:
        key = model, video, time
        if key not in self._models:
            frames = _camera(video, time).uploaded(self._seed, self._effort, FRAME_SHARES.get(video, 1.0))
            supervision = TASK.label(teacher(), frames.images, LabelConfig())
            student, settings = copy.deepcopy(model_named(model)), load_preset("quick").distil
            distil(
                TASK, student, frames.images, supervision, temperature=settings.temperature,
                plan=TrainingPlan(steps=self._effort.steps), soft_share=settings.soft_share,
                compression=CompressionConfig(), seed=Seed(run=self._seed, name=f"reproduce/{model}/{video}/{time}"),
            )  # fmt: skip
            self._models[key] = student.eval()
        return self._models[key]


def _camera(video: str, time: int) -> Camera:
    name, place = STREETS[video]
    return Camera(name=name, place=place, kind="night" if DARK[time - 1] == video else "")


def cut_to_common(states: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """State dicts of differently pruned models, each tensor cut to the size that all have.

    Which channels pruning kept differs from model to model, so the mean of what is cut this way means nothing. Equal
    structures stay whole.
    """
    common = {
        name: tuple(min(sizes) for sizes in zip(*(state[name].shape for state in states), strict=True))
        for name in states[0]
    }
    return [
        {name: tensor[tuple(slice(size) for size in common[name])].clone() for name, tensor in state.items()}
        for state in states
    ]
