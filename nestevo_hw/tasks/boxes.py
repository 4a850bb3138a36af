"""What detection tasks share, whatever the detector: street scenes, and the score of boxes."""

from collections.abc import Sequence
from dataclasses import asdict

from nestevo_hw.streams.augment import MILD
from nestevo_hw.streams.frame import Annotation, Role, Stream
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript
from nestevo_hw.tasks.capabilities import BoxLabels, EmbeddedStreams
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.predictions import Prediction
from nestevo_hw.tasks.task import VisionTask


class Boxes(VisionTask, EmbeddedStreams, BoxLabels):
    """Objects on frames, scored by mean average precision."""

    finds_boxes = True
    metric = "mAP@0.50"
    second_metric = ("map", "mAP@0.50:0.95")
    augmentation = MILD

    def embedded_stream(
        self,
        *,
        name: str,
        place: str,
        seed: int,
        size: tuple[int, int],
        drift: DriftScript | None = None,
        role: Role = "terminal",
    ) -> Stream:
        """Rendered street scenes; those of another seed are other scenes, whatever the role."""
        del role
        return SyntheticStream(name=name, place=place, seed=seed, size=size, drift=drift)

    def score(self, predictions: Sequence[Prediction], truth: Sequence[Annotation], classes: int) -> dict[str, float]:
        """COCO mean average precision: map50, map75 and map."""
        scores = asdict(mean_average_precision(predictions, truth, classes))
        return {name: scores[name] for name in ("map50", "map75", "map")}
