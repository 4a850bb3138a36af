"""Predicted costs: a first guess, then the mean of what has finished; dry runs for trainings."""

from dataclasses import replace

import pytest

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.costs import FIRST_GUESS, TaskCosts
from nestevo_hw.evolution.dryrun import dry_run, gpu_memory
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.profiler.target import CPU, CUDA
from nestevo_hw.scheduler.task import Excess, TaskFailure, TaskResult
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
    needed, leeway = gpu["mutual"].total_bytes, 1.1
    assert needed > gpu["mutual"].reserved_bytes + 799_000_000
    assert costs.predict("mutual", "a").memory_bytes == pytest.approx(leeway * needed, abs=1)
    costs.observe("mutual", "a", result(3.0, memory=9 * 10**9))
    predicted = costs.predict("mutual", "a").memory_bytes
    assert predicted == pytest.approx(leeway * needed, abs=1), "main memory corrected a GPU's"
    costs.observe("mutual", "a", replace(result(3.0, memory=9 * 10**9), gpu_peak_bytes=needed + 10**8))
    assert costs.predict("mutual", "a").memory_bytes == pytest.approx(leeway * (needed + 10**8), abs=2)


def test_only_what_computes_on_a_gpu_reserves_memory_of_it():
    costs = TaskCosts(load_preset("quick"), CUDA)
    for kind in ("capture", "ground-truth", "average", "export"):
        assert costs.predict(kind, "a").memory_bytes == 0
        costs.observe(kind, "a", replace(result(2.0, memory=10**9), gpu_peak_bytes=0))
        assert costs.predict(kind, "a").memory_bytes == 0


def test_the_first_tasks_on_a_gpu_leave_room_for_others():
    """The context, and what the models' forward passes take; before, the first of a kind took all that there was."""
    costs = TaskCosts(override(load_preset("quick"), {"execution.memory_gb": 100.0}), CUDA)
    kinds = ("sense", "evaluate", "label", "dry-run", "prepare")
    first = {kind: costs.predict(kind, "a").memory_bytes for kind in kinds}
    assert all(CUDA.context_bytes + 2 * CUDA.blas_bytes < taken < 4 * 10**9 for taken in first.values()), first
    assert first["sense"] < first["evaluate"] < first["label"]
    digital = override(load_preset("quick"), {"execution.memory_gb": 100.0, "teacher.analog": "digital"})
    assert TaskCosts(digital, CUDA).predict("evaluate", "a").memory_bytes == first["sense"], "no converters"


def test_what_a_task_took_of_a_gpu_is_reserved_again_with_some_leeway():
    """Its allocator is kept to it, and no two tasks take exactly the same."""
    costs = TaskCosts(override(load_preset("quick"), {"execution.memory_gb": 100.0}), CUDA)
    costs.observe("evaluate", "a", replace(result(2.0), gpu_peak_bytes=2 * 10**9))
    assert costs.predict("evaluate", "b").memory_bytes == 22 * 10**8
    costs.observe("sense", "a", replace(result(2.0), gpu_peak_bytes=0))
    assert costs.predict("sense", "a").memory_bytes > CUDA.context_bytes, "it sees its GPU in any case"


def test_main_memory_beside_a_gpu_is_learned_on_its_own():
    costs = TaskCosts(load_preset("quick"), CUDA)
    assert costs.predict_host("label", "a") == FIRST_GUESS.memory_bytes
    costs.observe("label", "a", replace(result(2.0, memory=3 * 10**8), gpu_peak_bytes=10**9))
    assert costs.predict_host("label", "a") == FIRST_GUESS.memory_bytes, "another worker may load more"
    costs.observe("label", "a", replace(result(2.0, memory=10**9), gpu_peak_bytes=10**9))
    assert costs.predict_host("label", "b") == 10**9
    excess = Excess(reserved_bytes=10**9, peak_bytes=2 * 10**9, stopped=True)
    costs.observe("label", "b", TaskFailure(name="x", reason="", attempts=2, excess=excess))
    assert costs.predict_host("label", "b") == 2 * 10**9
    assert costs.predict("label", "b").memory_bytes == round(1.1 * 10**9), "the GPU's stays as it was"
    on_cpu = TaskCosts(load_preset("quick"), CPU)
    on_cpu.observe("label", "a", result(2.0))
    assert on_cpu.predict_host("label", "a") == 0
