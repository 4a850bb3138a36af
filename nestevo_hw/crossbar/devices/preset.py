"""What a device is: one memory technology with its noise law, its converters and the limits of both."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from nestevo_hw.base.errors import ConfigError

if TYPE_CHECKING:
    from aihwkit.inference.noise.base import BaseNoiseModel

DAY_S = 86_400.0

AdcRange = Literal["fixed", "calibrated"]

type NoiseModel = BaseNoiseModel
"""Statistics of programming noise, drift and slow read noise, device by device, in the form of aihwkit."""
type NoiseLaw = Callable[[DevicePreset], NoiseModel]
"""Makes the noise model of a preset; imports aihwkit only when called, so that the names of devices stay light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterModel:
    """Digital-to-analog and analog-to-digital converters of one tile, and the noise between them.

    Inputs are scaled by the calibrated input range to -1..1 and weights per column to -1..1, so the output
    bound and the output noise are in units of (full-scale input x largest weight of the column).
    """

    dac_bits: int = 8
    """Input resolution in bits, sign included; 0 = no quantisation."""
    adc_bits: int = 8
    """Output resolution in bits, sign included; 0 = no quantisation."""
    output_bound: float = 10.0
    """Full scale of the ADC; larger sums are clipped."""
    adc_range: AdcRange = "fixed"
    """fixed: `output_bound` for every layer; calibrated: each layer's ADCs have the range that its columns need on
    calibration frames, and `output_bound` only where a layer saw none. Noise before the ADC stays the same."""
    adc_quantile: float = 0.9999
    """Of a calibrated range: share of the sums' magnitudes that do not clip; 1 = the largest that was seen."""
    adc_inl: float = 0.0
    """Largest integral non-linearity of the ADC, in steps of its codes, the same for all: an S-shaped cubic that is 0
    in the middle and at both ends. A sum of u times the full scale is read as u + inl * step * 2.598 (u - u^3)."""
    column_calibration: bool = False
    """Whether each column gets a digital scale and offset after programming, fitted on calibration frames."""
    output_noise: float = 0.04
    """Standard deviation of the Gaussian noise added before the ADC, drawn anew for every output."""
    input_noise: float = 0.0
    """Standard deviation of the Gaussian noise added after the DAC, relative to a full-scale input; slow."""
    read_noise: float = 0.0
    """Short-term noise of every cell within a product: its standard deviation, relative to the largest weight."""
    read_noise_law: Literal["constant", "pcm"] = "pcm"
    """constant: the same for all cells; pcm: times the square root of the cell's weight, as in phase change."""
    ir_drop: float = 0.0
    """Strength of the voltage drop along the wires; 1 = the standard wire resistance (see `crossbar.wires`)."""
    ir_drop_model: Literal["approximation", "ladder"] = "approximation"
    """approximation: that of aihwkit's C++ tile; ladder: exact, one linear system a column at every age."""

    def __post_init__(self) -> None:
        for name, bits in (("dac_bits", self.dac_bits), ("adc_bits", self.adc_bits)):
            if bits != 0 and not 2 <= bits <= 16:
                raise ConfigError(f"need {name} = 0 (no quantisation) or 2 to 16, got {bits}")
        if self.output_bound <= 0 or self.output_noise < 0 or self.input_noise < 0:
            raise ConfigError(
                "need output_bound > 0, output_noise >= 0 and input_noise >= 0, "
                f"got {self.output_bound}, {self.output_noise} and {self.input_noise}"
            )
        if self.read_noise < 0 or self.ir_drop < 0:
            raise ConfigError(f"need read_noise and ir_drop of 0 or more, got {self.read_noise} and {self.ir_drop}")
        if not 0.5 <= self.adc_quantile <= 1.0:
            raise ConfigError(f"need adc_quantile of 0.5 to 1, got {self.adc_quantile}")
        if self.adc_inl < 0 or (self.adc_inl > 0 and self.adc_bits == 0):
            raise ConfigError(
                f"need adc_inl of 0 or more, and an ADC with bits for more than 0, got {self.adc_inl} at "
                f"{self.adc_bits} bits"
            )

    @staticmethod
    def step(bits: int) -> float:
        """Quantisation step / width of the range -bound..bound: 2**bits - 2 steps, so zero is a code."""
        return 1.0 / ((1 << bits) - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePreset:
    """One memory technology with its converters; every number has a source."""

    name: str
    title: str
    """Memory technology in a few words."""
    noise_law: NoiseLaw | None
    """What the cells do to a conductance; None = nothing."""
    g_max_us: float
    """Conductance that the largest weight of a tile maps to, microsiemens."""
    idle_is_silent: bool = False
    """Whether a device of a pair that carries nothing neither drifts nor flickers, as `cells.PairedCells` takes it."""
    several_pairs: bool = False
    """Whether the noise law is known for more than one pair a weight."""
    pairs: int = 1
    """Differential conductance pairs a weight."""
    weight_bits: int = 0
    """Bit slicing: bits of a weight, sign included, cut into several cells; 0 = one analog cell holds it all."""
    cell_bits: int = 0
    """Bit slicing: bits one cell holds."""
    stuck_off: float = 0.0
    """Share of the devices whose conductance stays at the smallest."""
    stuck_on: float = 0.0
    """Share of the devices whose conductance stays at `g_max_us`."""
    relaxation: Literal["none", "own", "programmed"] = "none"
    """What the first random number is that ageing draws for a device. none: part of a read, another at every age;
    own: how the device relaxes, the same at all ages until it is programmed again; programmed: the same, and it is
    the number by which programming missed its target. Drift exponents are drawn in programming and always last."""
    drift_compensation: bool
    """Whether a global factor a tile undoes the mean drift (Joshi et al. 2020), read out without IO noise."""
    reference_column: bool = False
    """Whether each tile has one more column, programmed to the middle of the tile's range, whose mean change since its
    programming is subtracted from every cell: what all of them share."""
    times_s: tuple[float, ...] | None = None
    """The only times after programming at which the device was characterised; None = any time."""
    earliest_s: float = 0.0
    """Where the model of drift begins; 0 s itself always means: as programmed, before the first read and so
    without the slow read noise that every read shows."""
    converters: ConverterModel | None
    """None = perfect input and output: only the weights carry errors."""
    chip: str = "generic"
    """Chip whose published figures model time, energy and wear of programming, `crossbar.chips.CHIPS`."""
    source: str
    """Where the numbers come from."""
    leaves_out: str
    """What the published device does that this preset does not model."""

    def __post_init__(self) -> None:
        if self.pairs < 1 or (self.pairs > 1 and not self.several_pairs):
            most = "or more" if self.several_pairs else "and no more"
            raise ConfigError(f"device {self.name}: need 1 pair a weight {most}, got {self.pairs}")
        if (self.weight_bits == 0) != (self.cell_bits == 0):
            raise ConfigError("bit slicing needs both weight_bits and cell_bits")
        if self.weight_bits and not (2 <= self.weight_bits <= 24 and 1 <= self.cell_bits < self.weight_bits):
            raise ConfigError(
                "need weight_bits of 2 to 24 and cell_bits of 1 to weight_bits - 1, "
                f"got {self.weight_bits} and {self.cell_bits}"
            )
        if min(self.stuck_off, self.stuck_on) < 0 or self.stuck_off + self.stuck_on > 1:
            raise ConfigError(
                f"need shares of stuck devices of 0 or more that sum to 1 or less, got {self.stuck_off} off "
                f"and {self.stuck_on} on"
            )

    @property
    def digits(self) -> int:
        """Cells that hold one weight: 1, or with bit slicing the digits of its magnitude."""
        return -(-(self.weight_bits - 1) // self.cell_bits) if self.weight_bits else 1

    def document(self) -> dict[str, Any]:
        """JSON values, the noise law by its name; `devices.stored_preset` makes the preset of them again."""
        law = self.noise_law
        return {**asdict(self), "noise_law": None if law is None else f"{law.__module__}:{law.__qualname__}"}

    def check_time(self, seconds: float) -> None:
        """Refuse a time after programming for which the device has no model.

        Raises:
            ConfigError: negative, not a number, or not one of `times_s`.
        """
        if not 0.0 <= seconds < float("inf"):
            raise ConfigError(f"need a time after programming of 0 s or more, got {seconds}")
        if 0.0 < seconds < self.earliest_s:
            raise ConfigError(f"device {self.name} has no model between 0 s and {self.earliest_s:g} s")
        if self.times_s is not None and seconds != 0.0 and seconds not in self.times_s:
            known = ", ".join(f"{t:g}" for t in self.times_s)
            raise ConfigError(
                f"device {self.name} is characterised only at {known} s after programming, got {seconds:g} s"
            )


RASCH_CONVERTERS = ConverterModel()
"""The standard analog in-memory-computing model of Rasch et al., Nat. Commun. 2023, 14:5282."""
RASCH_SOURCE = (
    "8-bit converters, output bound 10 and output noise 0.04 follow the standard analog in-memory-computing "
    "model of Rasch et al., Nat. Commun. 2023, 14:5282; they are not figures of this device"
)
RASCH_LEAVES_OUT = "ADC non-linearity, read noise within a product and IR drop unless they are set"
