"""Detections linked over time: paths known by construction."""

import pytest
import torch

from nestevo_hw.tasks.faster_rcnn.tracking import link_tracks, rescored_by_tracks


def frame(*rows):
    """Detections out of (x, y, label, score), each 10 pixels wide and 20 high, (x, y) their centre."""
    table = torch.tensor(rows).reshape(-1, 4)
    half = torch.tensor([5.0, 10.0])
    boxes = torch.cat([table[:, :2] - half, table[:, :2] + half], 1)
    return {"boxes": boxes, "labels": table[:, 2].long(), "scores": table[:, 3]}


def paths(frames):
    return sorted(track.members for track in link_tracks(frames))


def test_crossing_walkers_keep_their_tracks_by_velocity():
    frames = [frame((10.0 + 8 * t, 50.0, 1, 0.9), (90.0 - 8 * t, 54.0, 1, 0.8)) for t in range(11)]
    assert paths(frames) == [[(t, 0) for t in range(11)], [(t, 1) for t in range(11)]]


def test_a_fast_car_is_found_where_its_velocity_takes_it():
    """Each step is longer than its size, too far for a second sighting that knows no velocity."""
    assert paths([frame((10.0 + 20 * t, 50.0, 1, 0.9)) for t in range(7)]) == [[(t, 0) for t in range(7)]]
    turning = [frame((x, 50.0, 1, 0.9)) for x in (10.0, 30.0, 10.0)]
    assert len(paths(turning)) == 2


def test_classes_sizes_and_far_jumps_are_not_linked():
    assert len(paths([frame((10.0, 50.0, 1, 0.9)), frame((10.0, 50.0, 2, 0.9))])) == 2
    assert len(paths([frame((10.0, 50.0, 1, 0.9)), frame((60.0, 50.0, 1, 0.9))])) == 2
    large = frame((10.0, 50.0, 1, 0.9))
    large["boxes"] = torch.tensor([[-10.0, 10.0, 30.0, 90.0]])
    assert len(paths([frame((10.0, 50.0, 1, 0.9)), large])) == 2


def test_a_track_survives_one_missed_frame_but_not_two():
    here, nothing = frame((10.0, 50.0, 1, 0.9)), frame()
    assert paths([here, nothing, here]) == [[(0, 0), (2, 0)]]
    assert paths([here, nothing, nothing, here]) == [[(0, 0)], [(3, 0)]]


def test_weak_detections_neither_start_nor_continue_a_track():
    assert paths([frame((10.0, 50.0, 1, 0.05)), frame((10.0, 50.0, 1, 0.9))]) == [[(1, 0)]]


def test_scores_rise_in_a_track_and_fall_without():
    frames = [frame((10.0 + t, 50.0, 1, s)) for t, s in enumerate((0.9, 0.4, 0.8))]
    frames[1] = frame((11.0, 50.0, 1, 0.4), (100.0, 50.0, 1, 0.4), (60.0, 50.0, 1, 0.05))
    scores = rescored_by_tracks(frames, share=0.5)
    # Each takes half its score from the mean of the two surest neighbours.
    assert scores[0]["scores"].tolist() == pytest.approx([0.5 * 0.9 + 0.5 * (0.8 + 0.4) / 2])
    assert scores[1]["scores"].tolist() == pytest.approx([0.5 * 0.4 + 0.5 * (0.9 + 0.8) / 2, 0.5 * 0.4, 0.5 * 0.05])
    assert scores[2]["scores"].tolist() == pytest.approx([0.5 * 0.8 + 0.5 * (0.9 + 0.4) / 2])
    assert frames[1]["scores"].tolist() == pytest.approx([0.4, 0.4, 0.05]), "the input was changed"


def test_only_frames_within_the_window_count():
    frames = [frame((10.0, 50.0, 1, s)) for s in (0.9, 0.2, 0.2, 0.4)]
    assert rescored_by_tracks(frames, share=1.0, window=1)[3]["scores"].tolist() == pytest.approx([0.2])
    assert rescored_by_tracks(frames, share=1.0, window=3)[3]["scores"].tolist() == pytest.approx([(0.9 + 0.2) / 2])


def test_a_share_of_nothing_and_a_single_frame():
    frames = [frame((10.0, 50.0, 1, 0.6)), frame((10.0, 50.0, 1, 0.8))]
    assert rescored_by_tracks(frames, share=0.0)[0]["scores"].tolist() == pytest.approx([0.6])
    assert rescored_by_tracks([], share=0.3) == []
    assert len(rescored_by_tracks([frame()], share=0.3)[0]["scores"]) == 0


def test_a_single_frame_has_no_others_that_could_confirm_or_doubt_it():
    (alone,) = rescored_by_tracks([frame((10.0, 50.0, 1, 0.5), (90.0, 50.0, 2, 0.05))], share=0.3)
    assert alone["scores"].tolist() == pytest.approx([0.5, 0.05])
