"""The paired bootstrap over frames, against precision computed anew and against differences that are known."""

import numpy as np
import pytest

from nestevo_hw.studies.elastic.paired import difference, precision_of, share_right
from nestevo_hw.terminals.elastic.edge import EdgeFrames
from nestevo_hw.terminals.judging import NOTHING, mean_precision
from nestevo_hw.terminals.runtime import Found

BOX = np.array([[0, 0, 10, 10]], np.float32)


def shown(label):
    return Found(BOX, np.array([label], np.int64), np.ones(1, np.float32))


def frames_of(truth):
    return EdgeFrames(np.zeros((len(truth), 3, 8, 8), np.uint8), tuple(truth), (NOTHING,) * len(truth))


def test_precision_on_drawn_frames_is_that_of_these_frames():
    draw = np.random.default_rng(0)
    truth = [Found(draw.random((4, 4)).cumsum(1).astype(np.float32), draw.integers(1, 3, 4), np.ones(4, np.float32))
             for _ in range(30)]  # fmt: skip
    seen = [Found(true.boxes + draw.normal(0, 0.05, (4, 4)).astype(np.float32), true.labels,
                  draw.random(4).astype(np.float32)) for true in truth]  # fmt: skip
    rate = precision_of(seen, frames_of(truth))
    for _ in range(5):
        rows = draw.integers(30, size=30).tolist()
        assert rate(rows) == pytest.approx(mean_precision([seen[r] for r in rows], [truth[r] for r in rows]), abs=1e-12)


def test_a_class_without_an_object_on_the_drawn_frames_does_not_count():
    """A rare class, which the model also sees where it is not."""
    truth = [shown(1), shown(1), shown(2)]
    seen = [shown(1), shown(2), shown(2)]
    rate = precision_of(seen, frames_of(truth))
    assert rate([0, 0]) == 1.0
    assert rate([1, 1]) == 0.0
    for rows in ([0, 1], [0, 2], [0, 1, 2], [1, 1, 0]):
        assert rate(rows) == pytest.approx(mean_precision([seen[r] for r in rows], [truth[r] for r in rows]), abs=1e-12)


def test_the_interval_of_a_share_is_about_that_of_its_standard_error():
    """One model is right on all of 400 frames, the other on three of four: 0.25, with an error of 0.0217."""
    truth = [shown(1)] * 400
    one, other = (share_right([shown(label) for label in labels], frames_of(truth))
                  for labels in ([1] * 400, [1, 1, 1, 2] * 100))  # fmt: skip
    found = difference(one, other, 400)
    assert found.value == 0.25
    assert found.low == pytest.approx(0.25 - 1.96 * 0.0217, abs=0.008)
    assert found.high == pytest.approx(0.25 + 1.96 * 0.0217, abs=0.008)


def test_a_model_is_not_behind_itself():
    rate = share_right([shown(1), shown(2)], frames_of([shown(1), shown(1)]))
    assert difference(rate, rate, 2) == difference(rate, rate, 2)
    assert difference(rate, rate, 2).low == difference(rate, rate, 2).high == 0
