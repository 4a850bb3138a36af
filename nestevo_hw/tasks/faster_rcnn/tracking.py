"""Tracking by detection in a fixed camera's frames: what appears before or after, too, gets a higher score."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nestevo_hw.tasks.predictions import Prediction

MIN_SCORE = 0.1
"""Detections below this score start and continue no track."""
MAX_DISTANCE = 1.0
"""How far from where its velocity takes it an object may turn up a frame later, in object sizes."""
MAX_GROWTH = 0.7
"""Largest change of the logarithm of an object's width or height from one detection to the next."""
MAX_GAP = 1
"""Frames in a row that may miss an object."""
FORBIDDEN = 1e6


@dataclass(slots=True, kw_only=True)
class Track:
    """One object over time."""

    label: int
    members: list[tuple[int, int]]
    """Number of the frame and of the detection in it, in order of time."""
    centre: Tensor
    """(2,) x and y where it was last seen, pixels."""
    size: Tensor
    """(2,) width and height when it was last seen, pixels."""
    velocity: Tensor
    """(2,) pixels a frame."""

    def update(self, frame: int, row: int, centre: Tensor, size: Tensor) -> None:
        """Take a detection in."""
        latest = (centre - self.centre) / (frame - self.members[-1][0])
        self.velocity = latest if len(self.members) == 1 else (self.velocity + latest) / 2
        self.centre, self.size = centre, size
        self.members.append((frame, row))


def link_tracks(detections: Sequence[Prediction]) -> list[Track]:
    """Detections of one class that move steadily, joined by least total distance frame by frame.

    Args:
        detections: of each frame, evenly spaced in time.
    """
    tracks: list[Track] = []
    for frame, prediction in enumerate(detections):
        rows = torch.where(prediction["scores"] >= MIN_SCORE)[0]
        boxes, labels = prediction["boxes"][rows], prediction["labels"][rows]
        centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        live = [track for track in tracks if frame - track.members[-1][0] <= MAX_GAP + 1]
        new = set(range(len(rows)))
        if live and new:
            costs = torch.stack([_costs(track, frame, centres, sizes, labels) for track in live])
            for old, row in zip(*linear_sum_assignment(costs.numpy()), strict=True):
                if costs[old, row] < FORBIDDEN:
                    live[old].update(frame, int(rows[row]), centres[row], sizes[row])
                    new.remove(int(row))
        tracks += [
            Track(
                label=int(labels[row]),
                members=[(frame, int(rows[row]))],
                centre=centres[row],
                size=sizes[row],
                velocity=torch.zeros(2),
            )
            for row in sorted(new)
        ]
    return tracks


def _costs(track: Track, frame: int, centres: Tensor, sizes: Tensor, labels: Tensor) -> Tensor:
    """(N,) how badly each detection of a frame continues a track."""
    steps = frame - track.members[-1][0]
    scale = (sizes.prod(1).sqrt() + track.size.prod().sqrt()) / 2
    distance = (centres - track.centre - steps * track.velocity).norm(dim=1) / scale
    growth = (sizes / track.size).log().abs().amax(1)
    # One detection has no velocity.
    reach = MAX_DISTANCE * steps**0.5 * (2 if len(track.members) == 1 else 1)
    fits = (labels == track.label) & (distance < reach) & (growth < MAX_GROWTH)
    return torch.where(fits, distance + growth, torch.tensor(FORBIDDEN))


def rescored_by_tracks(detections: Sequence[Prediction], *, share: float, window: int = 2) -> list[dict[str, Tensor]]:
    """The same detections with a higher score where their track goes on, and a lower one where it does not.

    Args:
        detections: of each frame, evenly spaced in time.
        share: of the new score that comes from the two highest scores of the same track close in time, 0 to 1; one that
            is missing counts as zero. A single frame, which has no others to ask, keeps its scores.
        window: frames before and after that are close in time.
    """
    if len(detections) < 2:
        return [dict(prediction) for prediction in detections]
    scores = [(1 - share) * prediction["scores"] for prediction in detections]
    for track in link_tracks(detections):
        own = {frame: float(detections[frame]["scores"][row]) for frame, row in track.members}
        for frame, row in track.members:
            close = range(max(0, frame - window), min(len(detections), frame + window + 1))
            others = sorted((own.get(other, 0.0) for other in close if other != frame), reverse=True)
            scores[frame][row] += share * sum(others[:2]) / len(others[:2])
    return [{**prediction, "scores": new} for prediction, new in zip(detections, scores, strict=True)]
