"""Targets that the scored frames can tell."""

from nestevo_hw.studies.sensitivity.resolution import resolution_note, target_loss


def test_the_target_is_the_usual_one_or_what_a_frame_is_worth() -> None:
    assert target_loss(None, 1 / 240) == 0.01
    assert target_loss(None, 1 / 24) == 1 / 24
    assert target_loss(None, 0.0) == 0.01
    assert target_loss(0.001, 1 / 24) == 0.001


def test_a_target_that_the_frames_cannot_tell_is_said_with_what_would() -> None:
    note = resolution_note(0.01, 1 / 24, 24)
    assert "one of 24 frames is worth 0.0417, more than the target of 0.01" in note
    assert "give --frames 100 or more, or a larger --target-loss" in note
    assert "--frames" not in resolution_note(0.0, 1 / 24, 24)  # no number of them would do
    assert "what one of 24 frames is worth" in resolution_note(1 / 24, 1 / 24, 24)
    assert resolution_note(0.01, 1 / 240, 240) == ""
