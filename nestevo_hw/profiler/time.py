"""Duration of a training task from the dry run of one of its steps."""

from nestevo_hw.profiler.step_cost import StepCost


def training_seconds(cost: StepCost, *, batch_size: int, steps: int) -> float:
    """Seconds of all steps: a warm step, extrapolated from the dry run's batch sizes and repeated.

    It leaves out what a task does besides: reading files, augmentation, writing the model. `DryRunCosts` learns that
    from finished tasks.
    """
    return cost.step_s.at(batch_size) * steps
