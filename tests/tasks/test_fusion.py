"""Weighted boxes fusion: against hand-computed means and against a plain loop."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.tasks.fusion import weighted_boxes_fusion


def found(*rows):
    """Detections out of (x1, y1, x2, y2, label, score)."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return {"boxes": table[:, :4].float(), "labels": table[:, 4].long(), "scores": table[:, 5].float()}


def test_one_object_seen_twice_has_the_weighted_mean_box_and_the_mean_score():
    result = weighted_boxes_fusion([found((0, 0, 10, 10, 1, 0.6)), found((0, 0, 10, 12, 1, 0.2))])
    torch.testing.assert_close(result["boxes"], torch.tensor([[0.0, 0.0, 10.0, 10.5]]))
    torch.testing.assert_close(result["scores"], torch.tensor([0.4]))
    assert result["labels"].tolist() == [1]


def test_a_view_that_finds_nothing_counts_as_zero():
    result = weighted_boxes_fusion([found((0, 0, 10, 10, 2, 0.9)), found(), found()])
    torch.testing.assert_close(result["scores"], torch.tensor([0.3]))
    torch.testing.assert_close(result["boxes"], torch.tensor([[0.0, 0.0, 10.0, 10.0]]))


def test_classes_do_not_mix_and_neighbours_stay_apart():
    views = [found((0, 0, 10, 10, 1, 0.8), (20, 0, 30, 10, 1, 0.6)), found((0, 0, 10, 10, 2, 0.4))]
    result = weighted_boxes_fusion(views)
    assert list(zip(result["labels"].tolist(), result["boxes"][:, 0].tolist(), strict=True)) == [
        (1, 0),
        (1, 20),
        (2, 0),
    ]


def test_nothing_found_gives_nothing():
    result = weighted_boxes_fusion([found(), found()])
    assert result["boxes"].shape == (0, 4)
    assert len(result["labels"]) == len(result["scores"]) == 0


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either


def plainly(views, overlap):
    """The definition, one detection after the other."""
    waiting = sorted(
        ((score, number, box, label) for number, rows in enumerate(views) for *box, label, score in rows), reverse=True
    )
    objects = []
    while waiting:
        _, _, seed, label = waiting[0]
        mine = [w for w in waiting if w is waiting[0] or (w[3] == label and iou(w[2], seed) >= overlap)]
        waiting = [w for w in waiting if w not in mine]
        best = {}
        for score, number, box, _ in mine:
            if number not in best:
                best[number] = (score, box)
        total = sum(score for score, _ in best.values())
        box = [sum(score * box[side] for score, box in best.values()) / total for side in range(4)]
        objects.append((*box, label, total / len(views)))
    return objects


@st.composite
def scenes(draw):
    """Three views with unique scores, so that the order is decided."""
    counts = [draw(st.integers(0, 6)) for _ in range(3)]
    scores = draw(st.lists(st.integers(1, 999), min_size=sum(counts), max_size=sum(counts), unique=True))
    rows = []
    for score in scores:
        x, y = draw(st.integers(0, 30)), draw(st.integers(0, 30))
        width, height = draw(st.integers(4, 20)), draw(st.integers(4, 20))
        rows.append((x, y, x + width, y + height, draw(st.integers(1, 2)), score / 1000))
    return [rows[: counts[0]], rows[counts[0] : counts[0] + counts[1]], rows[counts[0] + counts[1] :]]


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_agrees_with_the_definition(views):
    # No IoU of integer boxes of this size is this close to the threshold.
    result = weighted_boxes_fusion([found(*rows) for rows in views], overlap=0.5500001)
    expected = plainly(views, 0.5500001)
    assert len(result["labels"]) == len(expected)
    if expected:
        table = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(result["boxes"], table[:, :4].float(), atol=1e-4, rtol=1e-4)
        assert result["labels"].tolist() == table[:, 4].long().tolist()
        torch.testing.assert_close(result["scores"], table[:, 5].float(), atol=1e-6, rtol=1e-5)
