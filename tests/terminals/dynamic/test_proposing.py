"""Regions that cannot be among the surest are left out before all are compared."""

import numpy as np

from nestevo_hw.models.onnx.crops.names import OBJECTNESS
from nestevo_hw.terminals.dynamic.proposing import Regions


class Detector:
    """Gives its surest regions of at least some objectness."""

    def __init__(self, most):
        self.most, self.asked = most, []

    def at(self, scores):
        def run(least):
            self.asked.append(round(float(least), 3))
            sure = sorted((score for score in scores if score >= float(least)), reverse=True)
            return {OBJECTNESS: np.array(sure[: self.most], np.float32)}

        return run


def test_the_same_regions_are_given():
    draw, detector, regions = np.random.default_rng(0), Detector(5), Regions(5)
    for _ in range(50):
        scores = draw.random(int(draw.integers(0, 30)))
        given = regions.settle(0.0, detector.at(scores))[OBJECTNESS]
        assert np.array_equal(given, np.sort(scores.astype(np.float32))[::-1][:5])


def test_few_are_compared_where_many_are_sure():
    detector, regions = Detector(2), Regions(2)
    regions.settle(0.0, detector.at([0.9, 0.8, 0.1]))
    regions.settle(0.0, detector.at([0.9, 0.7, 0.1]))
    regions.settle(0.0, detector.at([0.9, 0.02]))
    regions.settle(0.0, detector.at([0.9]))
    assert detector.asked == [0.0, 0.08, 0.07, 0.0, 0.002, 0.0]


def test_a_floor_is_a_floor():
    detector, regions = Detector(2), Regions(2)
    assert regions.settle(0.5, detector.at([0.9, 0.4]))[OBJECTNESS].tolist() == [np.float32(0.9)]
    unknown = Regions(None)
    unknown.settle(0.0, detector.at([0.9, 0.4]))
    unknown.settle(0.0, detector.at([0.9, 0.4]))
    assert detector.asked == [0.5, 0.0, 0.0]
