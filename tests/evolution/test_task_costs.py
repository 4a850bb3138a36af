"""Predicted costs: a first guess, then the mean of what has finished; dry runs for trainings."""

from dataclasses import replace

import pytest

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.costs import FIRST_GUESS, TaskCosts
from nestevo_hw.evolution.dryrun import dry_run, gpu_memory
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.profiler.target import CPU, CUDA
from nestevo_hw.scheduler.task import Excess, TaskResult
from nestevo_hw.tasks.named import task_named


def result(seconds, memory=10**9, **value):
    return TaskResult(
        name="x", value=value, submitted_s=0.0, started_s=1.0, ended_s=1.0 + seconds, worker=0, peak_memory_bytes=memory
    )


def test_predictions_follow_what_has_finished():
    costs = TaskCosts(load_preset("quick"), CPU)
    assert costs.predict("label", "a") == FIRST_GUESS
    costs.observe("label", "a", result(2.0, memory=5))
    costs.observe("label", "b", result(4.0, memory=9))
    assert costs.predict("label", "c").duration_s == pytest.approx(3.0)
    assert costs.predict("label", "c").memory_bytes == 9


def test_memory_is_learned_by_terminal():
    """What none of a terminal has shown is taken from the most of the others."""
    costs = TaskCosts(load_preset("quick"), CPU)
    costs.observe("label", "a", result(2.0, memory=10**9))
    costs.observe("label", "b", result(2.0, memory=2 * 10**9))
    costs.observe("label", "a", result(2.0, memory=5 * 10**8))
    assert [costs.predict("label", name).memory_bytes for name in "abc"] == [10**9, 2 * 10**9, 2 * 10**9]


def test_of_two_attempts_the_larger_peak_is_learned():
    costs = TaskCosts(load_preset("quick"), CPU)
    excess = Excess(reserved_bytes=10**8, peak_bytes=2 * 10**9, stopped=True)
    costs.observe("label", "a", replace(result(2.0), excess=excess))
    assert costs.predict("label", "a").memory_bytes == 2 * 10**9


def test_what_took_more_than_there_is_to_reserve_goes_on_alone():
    config = override(load_preset("quick"), {"execution.memory_gb": 3.0})
    costs = TaskCosts(config, CPU)
    costs.observe("label", "a", result(2.0, memory=5 * 10**9))
    assert costs.predict("label", "a").memory_bytes == 3 * 10**9


def test_a_dry_run_predicts_trainings_and_learns_how_far_it_is_off():
    config = override(load_preset("quick"), {"mutual.plan.batch_size": 4, "distil.plan.batch_size": 4})
    teacher, terminal = load_pretrained("fasterrcnn-tiny"), load_pretrained("fasterrcnn-tiny-m3")
    costs = TaskCosts(config, CPU)
    costs.learn("a", dry_run(config, terminal, teacher))
    mutual, distil = costs.predict("mutual", "a"), costs.predict("distil", "a")
    assert mutual.duration_s > distil.duration_s > 0
    assert mutual.memory_bytes >= 0.95 * distil.memory_bytes > 10**8  # what a process holds besides is much of both
    assert costs.predict("distil", "a", steps=80).duration_s == pytest.approx(2 * distil.duration_s)
    costs.observe("distil", "a", result(3 * distil.duration_s))
    assert costs.predict("distil", "a").duration_s == pytest.approx(3 * distil.duration_s)


def test_on_a_gpu_a_training_takes_what_its_fake_run_reserves_and_the_context():
    config = override(load_preset("quick"), {"mutual.plan.batch_size": 4, "distil.plan.batch_size": 4})
    teacher, terminal = load_pretrained("fasterrcnn-tiny"), load_pretrained("fasterrcnn-tiny-m3")
    measured = dry_run(config, terminal, teacher)
    assert measured.gpu == {}, "on a CPU"
    models = {"distil": [terminal], "mutual": [terminal, teacher]}
    gpu = gpu_memory(config, task_named(config.task), models, CUDA)
    costs = TaskCosts(config, CUDA)
    costs.learn("a", replace(measured, gpu=gpu))
    needed = gpu["mutual"].total_bytes
    assert needed > gpu["mutual"].reserved_bytes + 799_000_000
    assert costs.predict("mutual", "a").memory_bytes == needed
    costs.observe("mutual", "a", result(3.0, memory=9 * 10**9))
    assert costs.predict("mutual", "a").memory_bytes == needed, "main memory corrected a GPU's"
    costs.observe("mutual", "a", replace(result(3.0, memory=9 * 10**9), gpu_peak_bytes=needed + 10**8))
    assert costs.predict("mutual", "a").memory_bytes == pytest.approx(needed + 10**8, abs=1)


def test_only_trainings_reserve_memory_of_a_gpu():
    costs = TaskCosts(load_preset("quick"), CUDA)
    assert costs.predict("label", "a").memory_bytes == costs.predict("evaluate", "a").memory_bytes == 0
    assert costs.predict("dry-run", "a").memory_bytes == 4 * 10**9, "all that there is, as nothing is known"
    costs.observe("label", "a", replace(result(2.0, memory=10**9), gpu_peak_bytes=0))
    assert costs.predict("label", "a").memory_bytes == 0
    costs.observe("dry-run", "a", replace(result(2.0, memory=10**9), gpu_peak_bytes=900_000_000))
    assert costs.predict("dry-run", "b").memory_bytes == 900_000_000
