"""What calibration on a user's own samples gives: the input range of each layer, and how well it computes on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nestevo_hw.base.stats import or_none
from nestevo_hw.crossbar.signal import layer_signals
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.zoo import ZooModel
from nestevo_hw.streams.samples.preprocessing import Size
from nestevo_hw.studies.data.dataset import Dataset, open_data
from nestevo_hw.studies.data.feeding import feed_for
from nestevo_hw.studies.data.spec import DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of a programmed teacher on some samples."""

    note: str
    """For people to read: on what."""
    input_ranges: dict[str, float]
    """Magnitude of input at which a layer's DAC clips, by layer; without those of a device without converters."""
    output_snr_db: dict[str, float | None]
    """Signal-to-noise ratio of each layer's output on its digital inputs, simulated; None without any noise."""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        layers = {
            name: {"input_range": self.input_ranges.get(name), "output_snr_db": ratio}
            for name, ratio in self.output_snr_db.items()
        }
        return {"note": self.note, "layers": layers}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSamples:
    """Batches of a user's own samples as a model takes them."""

    data: Dataset
    batches: Sequence[Any]

    @property
    def size(self) -> Size | None:
        """(H, W) of the first sample; None of one that is no image."""
        first = self.data.calibration.samples[0]
        return (first.shape[1], first.shape[2]) if isinstance(first, Tensor) and first.ndim == 3 else None

    def calibrate(self, teacher: AnalogTeacher, *, age_s: float) -> Calibration:
        """Set the input ranges, program, and measure each layer at an age in seconds."""
        teacher.calibrate(self.batches)
        teacher.program()
        teacher.age(age_s)
        signals = layer_signals(teacher, self.batches)
        return Calibration(
            note=f"input ranges and output SNR from {len(self.data.calibration)} of {self.data.total} samples of "
            f"{self.data.name}, each {self.data.shape}, {self.data.preprocessing.text}",
            input_ranges=teacher.input_ranges,
            output_snr_db={name: or_none(signal.output_snr_db) for name, signal in signals.items()},
        )


def calibration_samples(spec: DataSpec, chosen: ZooModel, *, seed: int) -> CalibrationSamples:
    """The held-out samples of a user's data.

    Raises:
        InputError: samples that cannot be read, or a model that does not run on them.
        ConfigError: options that do not fit them.
    """
    data = open_data(spec, chosen.name, chosen.model, frames=1, seed=seed, classes=chosen.classes)
    feed = feed_for(chosen.name, chosen.model, data)
    return CalibrationSamples(data=data, batches=tuple(batch for batch, _ in feed.batches(data.calibration.samples)))
