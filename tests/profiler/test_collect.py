"""Collecting samples: real measurements of small tasks, kept, resumed, refused where they do not belong."""

from dataclasses import replace

import pytest
from made_up_samples import write_made_up_samples

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError
from nestevo_hw.profiler.samples import Sample, Timing, measure, normalised
from nestevo_hw.profiler.specs import TrainingSpec
from nestevo_hw.studies.profile import collect as collecting
from nestevo_hw.studies.profile.collect import SAMPLES, Collection, SampleFile, collect, outstanding, read_samples

SMALL = TrainingSpec(architecture="mobilenet_v2/0.35", height=32, width=32, batch_size=2, frames=8)


@pytest.fixture(scope="module")
def sample():
    return measure(SMALL)


def test_a_measured_sample(sample):
    """The fake run's peak lies within 6 % of the truth, the parts of the time do not exceed the whole."""
    assert sample.work.peak_bytes == pytest.approx(sample.memory_bytes, rel=0.06)
    timing = sample.timings[0]
    assert len(timing.wall_s) == len(timing.cpu_s) == len(timing.reference_s) >= 3
    free = normalised([sample])[0]
    assert 0 < free.step_s < 10
    computing = sum(count * units for _, count, units in free.computing) * free.reference_s
    assert 0.05 * free.step_s < computing < 1.5 * free.step_s
    assert parse_json(json_line(plain(sample)), Sample, "sample") == sample


def test_times_are_those_of_the_free_machine(sample):
    """A run in which the reference step took twice as long counts half."""
    timing = Timing(steps=2, wall_s=(9.0, 9.0, 9.0), cpu_s=(2.0, 4.0, 2.2), reference_s=(0.01, 0.02, 0.01))
    made = replace(sample, timings=(timing,), reference_s=0.01)
    assert made.step_s == pytest.approx(1.0)
    assert made.spread == pytest.approx(0.1 / 3)
    slow = replace(made, timings=(replace(timing, reference_s=(0.02,) * 3),))
    assert [s.reference_s for s in normalised([*[made] * 3, slow])] == [0.01] * 4


def test_measured_kept_and_resumed(sample, tmp_path, monkeypatch):
    calls = []

    def quick(spec, *, seed, held_out, again):
        assert seed == 0
        calls.append((spec, again is not None))
        made = replace(sample, spec=spec, held_out=held_out)
        return again.merged(made) if again else made

    monkeypatch.setattr(collecting, "measure", quick)
    plan = Collection(samples=4, held_out=2, passes=2)
    file = SampleFile(tmp_path, 0, resume=False)
    assert outstanding(plan, file) == 12
    assert not collect(plan, file, budget_s=0.0)
    assert not calls
    assert collect(plan, file)
    assert [again for _, again in calls] == [False] * 6 + [True] * 6
    assert len({spec for spec, _ in calls}) == 6
    with (tmp_path / SAMPLES).open("a") as torn:
        torn.write('{"index": 0, "sp')
    resumed = SampleFile(tmp_path, 0, resume=True)
    assert resumed.samples == file.samples
    assert outstanding(plan, resumed) == 0
    assert outstanding(Collection(samples=5, held_out=2, passes=2), resumed) == 2
    _, found = read_samples(tmp_path)
    assert [len(s.timings) for s in found] == [2] * 6
    assert sum(s.held_out for s in found) == 2


def test_a_stopped_collection_says_how_to_go_on(sample, tmp_path, monkeypatch):
    def stopped(spec, *, held_out, **_):
        if len(file.samples) == 2:
            raise KeyboardInterrupt
        return replace(sample, spec=spec, held_out=held_out)

    monkeypatch.setattr(collecting, "measure", stopped)
    file = SampleFile(tmp_path, 0, resume=False)
    with pytest.raises(NestEvoError, match=r"stopped after 2 of 12 measurements, which are kept in .* with --resume"):
        collect(Collection(samples=4, held_out=2, passes=2), file)
    assert len(SampleFile(tmp_path, 0, resume=True).samples) == 2


def test_samples_of_elsewhere_are_refused(tmp_path):
    write_made_up_samples(tmp_path)
    with pytest.raises(ConfigError, match="holds samples already; add --resume to go on"):
        SampleFile(tmp_path, 0, resume=False)
    with pytest.raises(ConfigError, match="holds no profile to resume; leave --resume out"):
        SampleFile(tmp_path / "elsewhere", 0, resume=True)
    with pytest.raises(ConfigError, match="seed is 0 there and 1 here"):
        SampleFile(tmp_path, 1, resume=True)


def test_damaged_and_missing_files(tmp_path):
    with pytest.raises(InputError, match="does not exist; measure samples"):
        read_samples(tmp_path)
    write_made_up_samples(tmp_path)
    lines = (tmp_path / SAMPLES).read_text().splitlines()
    (tmp_path / SAMPLES).write_text("\n".join([lines[0], "{broken", *lines[1:]]) + "\n")
    with pytest.raises(
        InputError, match=r"samples\.jsonl, line 2 is not valid JSON: .*; delete this line and --resume"
    ):
        read_samples(tmp_path)
    (tmp_path / SAMPLES).write_text(lines[0] + "\n")
    with pytest.raises(InputError, match="holds no samples"):
        read_samples(tmp_path)


def test_impossible_plans():
    with pytest.raises(ConfigError, match="got 0, 60 and 2"):
        Collection(samples=0)
