"""One fault of labels set right by the truth, and nothing else."""

import torch

from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.corrections import corrected, well_placed, with_missed, without_wrong
from nestevo_hw.tasks.supervision import Supervision


def supervision(boxes, labels, ignore):
    sure = sum(not each for each in ignore)
    return Supervision(
        annotation=Annotation(boxes=torch.tensor(boxes).view(-1, 4), labels=torch.tensor(labels, dtype=torch.int64),
                              ignore=torch.tensor(ignore, dtype=torch.bool)),
        regions=torch.rand(3, 4), logits=torch.rand(3, 4), deltas=torch.rand(3, 16),
        features=torch.arange(2.0 * sure).view(sure, 2) + 1,
    )  # fmt: skip


A, B, C = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0.0, 50.0, 10.0]
NEAR_A = [0.0, 0.0, 10.0, 9.0]
TRUTH = Annotation.of(torch.tensor([A, B]), torch.tensor([1, 2]))


def test_missed_objects_are_added_and_what_would_hide_them_goes():
    # A is labelled, B only doubted, and C is a doubt of its own.
    said = supervision([NEAR_A, B, C], [1, 1, 3], [False, True, True])
    found = with_missed(said, TRUTH)
    assert found.annotation.boxes.tolist() == [NEAR_A, C, B]
    assert found.annotation.labels.tolist() == [1, 3, 2]
    assert found.annotation.ignore.tolist() == [False, True, False]
    assert found.features.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert found.logits is said.logits


def test_wrong_labels_are_left_out_and_doubts_stay():
    # The second is of the wrong class, the third stands for an object that the first stands for already.
    said = supervision([A, B, NEAR_A, C, C], [1, 1, 1, 3, 3], [False, False, False, False, True])
    found = without_wrong(said, TRUTH)
    assert found.annotation.boxes.tolist() == [A, C]
    assert found.annotation.ignore.tolist() == [False, True]
    assert found.features.tolist() == [[1.0, 2.0]]


def test_right_labels_are_moved_onto_their_objects():
    # The second is of the wrong class, the third a doubt, the fourth stands for nothing.
    said = supervision([NEAR_A, B, NEAR_A, C], [1, 1, 1, 3], [False, False, True, False])
    found = well_placed(said, TRUTH)
    assert found.annotation.boxes.tolist() == [A, B, NEAR_A, C]
    assert found.annotation.labels.equal(said.annotation.labels)
    assert found.annotation.ignore.equal(said.annotation.ignore)
    assert (found.features is said.features, said.annotation.boxes[0].tolist()) == (True, NEAR_A)


def test_right_labels_stay_as_they_are():
    said = supervision([A, B], [1, 2], [False, False])
    for found in (with_missed(said, TRUTH), without_wrong(said, TRUTH), well_placed(said, TRUTH)):
        assert found.annotation.boxes.equal(said.annotation.boxes)
        assert found.features.equal(said.features)


def test_frames_without_objects_or_labels_are_no_exception():
    nothing = Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    empty, wrong = supervision([], [], []), supervision([A], [1], [False])
    frames = FrameBatch(images=torch.zeros(2, 3, 8, 8, dtype=torch.uint8), indices=(0, 1), truth=(TRUTH, nothing))
    added = corrected([empty, wrong], frames, "missed")
    assert [len(one.annotation.labels) for one in added] == [2, 1]
    cleaned = corrected([empty, wrong], frames, "wrong")
    assert [len(one.annotation.labels) for one in cleaned] == [0, 0]
    placed = corrected([empty, wrong], frames, "misplaced")
    assert [len(one.annotation.labels) for one in placed] == [0, 1]
