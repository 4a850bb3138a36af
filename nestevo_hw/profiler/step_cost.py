"""Memory and time of one training step, measured at two small batch sizes."""

from dataclasses import dataclass

SMALL, LARGE = 2, 4
"""Batch sizes of a dry run. At one frame the peak often falls elsewhere in the step than it does in a real batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerBatch:
    """A quantity measured at two batch sizes, and linear in the batch size."""

    small: float
    """At SMALL frames."""
    large: float
    """At LARGE frames."""

    def at(self, batch_size: int) -> float:
        """Value at a batch size."""
        slope = max(self.large - self.small, 0.0) / (LARGE - SMALL)
        return max(self.large + slope * (batch_size - LARGE), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What one training step (forward, backward, optimiser) cost in this process, at two small batch sizes."""

    parameters: int
    """Elements of all parameters."""
    parameter_bytes: int
    """With buffers: what the models hold all the time."""
    gradient_bytes: int
    optimiser_bytes: int
    """State of the optimiser, measured after its first step."""
    saved_bytes: PerBatch
    """Kept from the forward pass for the backward pass, parameters left out; each storage counted once."""
    layer_output_bytes: PerBatch
    """Outputs of all leaf modules, as the paper counts intermediate results."""
    transient_bytes: PerBatch
    """Most bytes alive at a time of all that a step allocates and frees again, gradients included."""
    macs: PerBatch
    """Multiply-accumulate operations of forward and backward."""
    step_s: PerBatch
    """Seconds of a warm step; the faster of two."""
    resident_bytes: PerBatch
    """Most memory that the process has taken of its own so far, without what it shares with its parent and with files:
    of the host, also if the models are on a GPU."""
