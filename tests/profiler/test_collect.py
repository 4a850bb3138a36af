"""Collecting samples: real measurements of small tasks, kept, resumed, refused where they do not belong."""

import itertools
from dataclasses import replace

import pytest
import torch
from made_up_samples import made_up_samples, write_made_up_samples

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError
from nestevo_hw.profiler.gpu_context import target_of
from nestevo_hw.profiler.samples import Sample, Timing, measure, normalised
from nestevo_hw.profiler.specs import TrainingSpec, spread_specs
from nestevo_hw.profiler.target import CUDA
from nestevo_hw.profiler.training_models import TrainingModels
from nestevo_hw.studies.profile import collect as collecting
from nestevo_hw.studies.profile.collect import SAMPLES, Collection, SampleFile, collect, outstanding, read_samples
from nestevo_hw.studies.profile.output import learn_and_judge

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

    def quick(spec, *, seed, held_out, again, **_):
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


def test_a_gpu_has_larger_tasks_and_all_of_its_memory_is_predicted():
    """Of a training on a GPU that is not here: what the fake life takes of it is what the networks correct."""
    specs = itertools.islice(spread_specs(0, gpu=True), 60)
    sides = {spec.height for spec in specs if spec.is_detector}
    assert max(sides) == 720
    training = TrainingModels(next(spread_specs(0)))
    life = training.gpu_life().memory(CUDA)
    made = replace(made_up_samples(1)[0], gpu_bytes=life.total_bytes)
    assert made.step.memory_bytes == life.total_bytes > CUDA.context_bytes
    samples = [replace(s, gpu_bytes=2 * s.work.peak_bytes, memory_bytes=round(2.2 * s.work.peak_bytes)) for s in
               made_up_samples(24)]  # fmt: skip
    learned, judged = learn_and_judge(
        [*samples, *(replace(s, held_out=True) for s in samples[:8])], {"gpu": "made up"}, device=torch.device("cpu")
    )
    assert judged.figures()["memory_mape"] < 0.05
    assert learned.predict(samples[0].step).memory_bytes == pytest.approx(samples[0].memory_bytes, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_task_is_measured_on_a_gpu():
    device = torch.device("cuda", 0)
    target = target_of(device)
    sample = measure(TrainingSpec(architecture="resnet/1-1-1-1", height=128, width=128, batch_size=32, frames=64),
                     target=target, device=device)  # fmt: skip
    assert sample.gpu_bytes == pytest.approx(sample.memory_bytes, rel=0.1)
    assert sample.computing
    again = measure(sample.spec, target=target, device=device, again=sample)
    assert len(again.timings) == 2
    assert again.step_s == pytest.approx(sample.step_s, rel=0.3)
