"""Life-cycle performance against worked cases."""

import math

import pytest

from nestevo_hw.evolution.dispatch import Finished, Stage
from nestevo_hw.evolution.lifecycle import AdaptedModel, EvolvingTime, account, life_cycle_performance
from nestevo_hw.evolution.refresh import Programming
from nestevo_hw.evolution.scenario import LinkConfig
from nestevo_hw.evolution.steps.step import Result
from nestevo_hw.evolution.steps.table import ADAPT_BATCH_NORM, ADAPT_LABELLED, DISTIL, EXPORT, LABEL, MERGE, RANK
from nestevo_hw.evolution.teacher import LabellingTime


def test_a_quarter_of_the_window_at_the_old_accuracy():
    assert life_cycle_performance(0.4, 0.8, 25.0, 100.0) == pytest.approx(0.7)


def test_an_adapted_model_counts_until_the_evolved_one_is_there():
    """5 s at 0.4, 20 s at 0.5, 75 s at 0.8; one that comes too late changes nothing."""
    soon, late = (AdaptedModel(accuracy=0.5, from_s=seconds) for seconds in (5.0, 30.0))
    assert life_cycle_performance(0.4, 0.8, 25.0, 100.0, soon) == pytest.approx(0.02 + 0.1 + 0.6)
    assert life_cycle_performance(0.4, 0.8, 25.0, 100.0, late) == life_cycle_performance(0.4, 0.8, 25.0, 100.0)


def test_an_evolution_that_outlasts_its_window_is_refused():
    with pytest.raises(ValueError, match="not within the window"):
        life_cycle_performance(0.4, 0.8, 101.0, 100.0)


def test_parts_add_up():
    time = EvolvingTime(communication_s=1.0, labelling_s=0.5, programming_s=0.25, waiting_s=2.0, training_s=3.5)
    assert time.total_s == 7.25


def task(submitted_s, started_s, ended_s, **value):
    return Finished(value=Result(**value), submitted_s=submitted_s, started_s=started_s, ended_s=ended_s)


def life_of(stages, **told):
    given = {"before": 0.2, "after": 0.6} if "scores" not in told else told.pop("scores")
    common = {"window": 0, "window_s": 100.0, "upload_bytes": 10e6, "link": LINK, "labelling": None}
    return account(
        "a", GROUPS, [[stage] for stage in stages], **{**common, "scores": given, "adaptation": None, **told}
    )


GROUPS = {"a": "", "b": ""}
LINK = LinkConfig(upload_mbit_s=20.0, download_mbit_s=50.0)


def test_a_digital_evolution_is_measured_from_label_to_export():
    """10 MB up at 20 Mbit/s are 4 s, 5 MB down at 50 are 0.8 s; steps last 5 s each, 3 s and 3 s of it at work."""
    stages = [
        Stage(step=LABEL, done={"a": task(100.0, 102.0, 105.0), "b": task(100.0, 100.0, 102.0)}),
        Stage(step=DISTIL, done={"a": task(105.0, 107.0, 110.0)}),
        Stage(step=MERGE, done={"": task(110.0, 110.0, 111.0)}),
        Stage(step=EXPORT, done={
            "a": task(111.0, 111.0, 111.5, download_bytes=5_000_000), "b": task(111.0, 111.0, 113.0)
        }),
    ]  # fmt: skip
    life = life_of(stages, window_s=178.0)
    assert life.parts == pytest.approx(
        {"communication_s": 4.8, "labelling_s": 3.0, "programming_s": 0.0, "waiting_s": 2 + 2 + 1.5, "training_s": 4.5}
    )
    assert life.origins["labelling_s"] == "measured"
    assert life.evolving_s == pytest.approx(17.8)
    assert life.lcp == pytest.approx(0.2 * 0.1 + 0.6 * 0.9)
    assert life_of(stages, window_s=5.0).lcp == pytest.approx(0.2)
    backwards = life_of(stages[::-1], window_s=178.0)
    assert backwards.parts == pytest.approx(life.parts)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_adapted_model_is_in_force_after_upload_computing_and_download(place):
    """4 s up, 1 s of waiting, 2 s of work, 1 MB down in 0.16 s; wherever in the window it was made."""
    adaptation = Stage(
        step=ADAPT_BATCH_NORM,
        done={"b": task(100.0, 100.0, 101.0), "a": task(100.0, 101.0, 103.0, download_bytes=1_000_000)},
    )
    stages = [
        Stage(step=DISTIL, done={"a": task(103.0, 103.0, 110.0)}),
        Stage(step=EXPORT, done={"a": task(110.0, 110.0, 110.0)}),
    ]
    stages.insert(place, adaptation)
    scores = {"before": 0.2, "adapted": 0.4, "after": 0.6}
    life = life_of(stages, scores=scores, adaptation=adaptation)
    assert life.adapted_s == pytest.approx(7.16)
    gained = 100.0 * (life.lcp - life_of(stages, scores=scores).lcp)
    assert gained == pytest.approx(0.2 * (life.evolving_s - 7.16))


def test_the_crossbar_counts_with_the_chips_time_and_serves_one_terminal_after_another():
    """Labels of 11 frames take 1 + 10 x 0.1 = 2 s, of the other's 21 frames 3 s; simulating them does not count."""
    programming = Programming(time_s=4.0, energy_j=0.0, wear=0.0)
    stages = [
        Stage(step=LABEL, done={
            "a": task(0.0, 0.0, 50.0, crossbar_frames=11), "b": task(0.0, 0.0, 90.0, crossbar_frames=21)
        }),
        Stage(step=MERGE, done={"": task(90.0, 90.0, 99.0, crossbar_frames=11, programming=programming)}),
    ]  # fmt: skip
    life = life_of(stages, scores={}, labelling=LabellingTime(first_s=1.0, interval_s=0.1))
    assert life.parts == pytest.approx(
        {"communication_s": 4.0, "labelling_s": 4.0, "programming_s": 4.0, "waiting_s": 3.0, "training_s": 0.0}
    )
    assert life.origins["labelling_s"] == "modelled"
    assert math.isnan(life.lcp)


def test_a_crossbar_serves_the_terminals_of_its_group_alone():
    """1.5 s for two on the one crossbar, 2.5 s for three on the other; the next step begins once both are done."""
    groups = {"a": "west", "b": "west", "c": "east", "d": "east", "e": "east"}
    common = {"window": 0, "window_s": 100.0, "upload_bytes": 0, "link": LINK, "scores": {}, "adaptation": None}

    def waiting_s(terminal, beside):
        stage = Stage(step=LABEL, done={name: task(0.0, 0.0, 9.0, crossbar_frames=6) for name in beside})
        labelling = LabellingTime(first_s=0.5, interval_s=0.1)
        return account(terminal, groups, [[stage]], labelling=labelling, **common).parts["waiting_s"]

    assert waiting_s("a", "ab") == pytest.approx(1.0)
    assert waiting_s("c", "cde") == pytest.approx(2.0)
    assert waiting_s("a", "abcde") == pytest.approx(2.0)
    assert waiting_s("a", "abc") == pytest.approx(1.0), "of another crossbar that is done sooner it sees nothing"


def test_training_beside_the_crossbar_counts():
    """Each frame of each step passes through the chip, 4 s; the rest is as long as it was measured."""
    adapting = Stage(step=ADAPT_LABELLED, done={"": task(0.0, 0.0, 25.0, crossbar_frames=31, beside_s=20.0)})
    parts = life_of([adapting], labelling=LabellingTime(first_s=1.0, interval_s=0.1)).parts
    assert (parts["labelling_s"], parts["training_s"], parts["waiting_s"]) == pytest.approx((4.0, 20.0, 0.0))


def test_a_group_that_is_called_like_a_terminal_does_not_count_twice():
    """village is in the group campus, beside the terminal campus."""
    stages = [
        Stage(step=DISTIL, done={"campus": task(0.0, 0.0, 10.0), "village": task(0.0, 0.0, 10.0)}),
        Stage(step=MERGE, done={"campus": task(10.0, 10.0, 12.0)}),
    ]
    common = {"window": 0, "window_s": 100.0, "upload_bytes": 10e6, "link": LINK, "labelling": None, "adaptation": None}
    life = account("village", {"village": "campus"}, [[stage] for stage in stages], scores={}, **common)
    assert life.parts["training_s"] == pytest.approx(12.0)


def test_waiting_for_a_crossbar_is_partly_modelled():
    stages = [Stage(step=LABEL, done={"a": task(0.0, 0.0, 1.0, crossbar_frames=1)})]
    analog = life_of(stages, scores={}, labelling=LabellingTime(first_s=1.0, interval_s=0.1))
    assert analog.origins["waiting_s"] == "partly modelled"
    assert life_of(stages, scores={}).origins["waiting_s"] == "measured"


def test_steps_side_by_side_are_waited_for_once():
    """The first is at work from 100 to 110 and from 112 to 115, and the last of all tasks ends at 121."""
    together = [
        Stage(step=DISTIL, done={"a": task(100.0, 100.0, 110.0), "b": task(100.0, 100.0, 121.0)}),
        Stage(step=RANK, done={"a": task(100.0, 112.0, 115.0), "b": task(100.0, 110.0, 112.0)}),
    ]
    common = {"window": 0, "window_s": 100.0, "upload_bytes": 0, "link": LINK, "labelling": None, "adaptation": None}
    parts = {name: account(name, GROUPS, [together], scores={}, **common).parts for name in ("a", "b")}
    assert parts["a"] == pytest.approx(
        {"communication_s": 0, "labelling_s": 0, "programming_s": 0, "waiting_s": 8.0, "training_s": 13.0}
    )
    assert (parts["b"]["training_s"], parts["b"]["waiting_s"]) == pytest.approx((21.0, 0.0)), "at two things at once"
    together[1] = Stage(step=RANK, done={"b": task(100.0, 121.0, 125.0)})
    bystander = account("a", GROUPS, [together], scores={}, **common)
    assert bystander.evolving_s == pytest.approx(25.0), "it waits for others' tasks of a step in which it has none"
