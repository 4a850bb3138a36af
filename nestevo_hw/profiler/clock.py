"""Time of work on a device."""

import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Clock:
    """Times work on a device, whose end it waits for."""

    device: torch.device

    def wall_s(self) -> float:
        """`time.perf_counter`, once all that was begun is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def computed_s(self) -> float:
        """Time that this process has computed; of a GPU the same as `wall_s`."""
        return self.wall_s() if self.device.type == "cuda" else time.process_time()
