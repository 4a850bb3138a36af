"""Tasks to measure: different, evenly spread, and none of the held-out architectures among those to learn from."""

import itertools
from collections import Counter

import pytest

from nestevo_hw.base.documents import parse, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.space import (
    CLASSIFIERS,
    DETECTOR_SHARE,
    HELD_OUT_CLASSIFIERS,
    TrainingSpec,
    halved,
    spread_specs,
)


def take(count, **settings):
    return list(itertools.islice(spread_specs(0, **settings), count))


def test_same_seed_same_tasks_and_none_twice():
    specs = take(200)
    assert specs == take(200)
    assert len(set(specs)) == 200
    assert specs != list(itertools.islice(spread_specs(1), 200))


def test_held_out_architectures_are_never_learned_from():
    known, held_out = ({s.architecture for s in take(300, held_out=side)} for side in (False, True))
    assert not known & held_out
    assert not set(CLASSIFIERS) & set(HELD_OUT_CLASSIFIERS)
    assert {a.split("-")[1] for a in known if a.startswith("tiny")}.isdisjoint(
        a.split("-")[1] for a in held_out if a.startswith("tiny")
    )


def test_every_setting_is_there():
    specs = take(200)
    for name, choices in {
        "learning": {"single", "distil", "mutual"}, "optimiser": {"adamw", "sgd", "sgd-momentum"},
        "precision": {"float32", "bfloat16"}, "compression": {1, 2}, "pruning": {0.0, 0.3, 0.5, 0.7},
    }.items():  # fmt: skip
        assert {getattr(s, name) for s in specs} == choices
    assert {s.architecture for s in specs} >= set(CLASSIFIERS)
    assert {s.precision for s in take(100, bfloat16=False)} == {"float32"}


def test_more_even_than_random():
    """Of 256 points of a Sobol sequence a third of an axis holds a third; of random ones 7.5 more or fewer."""
    chosen = Counter(s.learning for s in take(256))
    assert max(abs(count - 256 / 3) for count in chosen.values()) < 4
    halves = Counter((s.is_detector, s.optimiser == "adamw") for s in take(256))
    for detector, share in ((True, DETECTOR_SHARE), (False, 1 - DETECTOR_SHARE)):
        assert halves[detector, True] == pytest.approx(128 * share, abs=5)


def test_steps_sizes_and_families():
    spec = TrainingSpec(architecture="tiny/16-24-32-64", height=128, width=160, batch_size=8, frames=60, epochs=3,
                        compression=2)  # fmt: skip
    assert spec.steps == 23  # 180 frames in batches of 8
    assert spec.input_size == (64, 80)
    assert halved(spec).batch_size == 4
    assert (
        halved(TrainingSpec(architecture="resnet/1-1-1-1", height=32, width=32, batch_size=2, frames=4)).batch_size == 2
    )
    families = [TrainingSpec(architecture=a, height=32, width=32, batch_size=2, frames=4).family for a in
                ("tiny/1-2-3-4", "resnet/1-1-1-1", "mobilenet_v3_small/1.0", "shufflenet_v2_x1_0")]  # fmt: skip
    assert families == ["tiny", "resnet", "mobilenet", "shufflenet"]


def test_survives_json():
    spec = take(1)[0]
    assert parse(plain(spec), TrainingSpec, "training task") == spec
    damaged = plain(spec)
    del damaged["batch_size"]
    with pytest.raises(InputError, match="training task: batch_size: field required"):
        parse(damaged, TrainingSpec, "training task")
