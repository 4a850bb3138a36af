"""Named device presets: what a crossbar's cells and converters do to weights, inputs and outputs."""

from dataclasses import dataclass, replace
from typing import Literal

from nestevo_hw.base.errors import ConfigError

NoiseModelName = Literal["none", "pcm-like", "hermes", "reram-wan", "reram-cmo"]

DAY_S = 86_400.0


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

    @staticmethod
    def step(bits: int) -> float:
        """Quantisation step / width of the range -bound..bound: 2**bits - 2 steps, so zero is a code."""
        return 1.0 / ((1 << bits) - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePreset:
    """One memory technology with its converters; every number has a source."""

    name: str
    noise_model: NoiseModelName
    """Statistical model of programming noise, drift and read noise (aihwkit's implementation)."""
    g_max_us: float
    """Conductance that the largest weight of a tile maps to, microsiemens."""
    pairs: int = 1
    """Differential conductance pairs a weight (pcm-like only)."""
    weight_bits: int = 0
    """Bit slicing: bits of a weight, sign included, cut into several cells; 0 = one analog cell holds it all."""
    cell_bits: int = 0
    """Bit slicing: bits one cell holds."""
    stuck_off: float = 0.0
    """Share of the devices whose conductance stays at zero."""
    stuck_on: float = 0.0
    """Share of the devices whose conductance stays at `g_max_us`."""
    drift_compensation: bool
    """Whether a global factor a tile undoes the mean drift (Joshi et al. 2020), read out without IO noise."""
    times_s: tuple[float, ...] | None = None
    """The only times after programming at which the device was characterised; None = any time."""
    earliest_s: float = 0.0
    """Where the model of drift begins; 0 s itself always means: as programmed."""
    converters: ConverterModel | None
    """None = perfect input and output: only the weights carry errors."""
    source: str
    """Where the numbers come from."""
    leaves_out: str
    """What the published device does that this preset does not model."""

    def __post_init__(self) -> None:
        if self.pairs < 1 or (self.pairs > 1 and self.noise_model not in ("pcm-like", "none")):
            raise ConfigError(f"need 1 pair a weight or more, and one except for pcm, got {self.pairs} on {self.name}")
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


_IO_SOURCE = (
    "8-bit converters, output bound 10 and output noise 0.04 follow the standard analog in-memory-computing "
    "model of Rasch et al., Nat. Commun. 2023, 14:5282; they are not figures of this device"
)
_IO_MISSING = "ADC non-linearity; read noise within a product and IR drop unless they are set"

PRESETS: dict[str, DevicePreset] = {
    preset.name: preset
    for preset in (
        DevicePreset(
            name="ideal",
            noise_model="none",
            g_max_us=25.0,
            drift_compensation=False,
            converters=None,
            source="no device: weights as given, perfect input and output",
            leaves_out="everything; for checking the mapping",
        ),
        DevicePreset(
            name="pcm",
            noise_model="pcm-like",
            g_max_us=25.0,
            drift_compensation=True,
            converters=ConverterModel(),
            source="Nandakumar et al., ICECS 2019 (programming noise, drift, 1/f read noise fitted to "
            "measured PCM devices); Joshi et al., Nat. Commun. 2020, 11:2473 (drift compensation). " + _IO_SOURCE,
            leaves_out=_IO_MISSING,
        ),
        DevicePreset(
            name="hermes",
            noise_model="hermes",
            g_max_us=20.7,
            drift_compensation=True,
            converters=ConverterModel(),
            source="Le Gallo et al., Nat. Electron. 2023, s41928-023-01010-1 (64-core PCM chip, 8-bit input "
            "and output); Vasilopoulos et al., TED 2023 (two devices a weight). Output bound 10 and output "
            "noise 0.04 follow Rasch et al., Nat. Commun. 2023, 14:5282, not this chip",
            leaves_out=_IO_MISSING + ", the chip's per-column calibration",
        ),
        DevicePreset(
            name="reram-cmo",
            noise_model="reram-cmo",
            g_max_us=88.2,
            drift_compensation=False,
            earliest_s=1.0,
            converters=ConverterModel(),
            source="Falcone et al., arXiv:2502.04524 (conductive-metal-oxide/HfOx ReRAM, program-and-verify "
            "to 0.2 % of the target, relaxation). " + _IO_SOURCE,
            leaves_out=_IO_MISSING + ", a reference column that would subtract the common relaxation",
        ),
        DevicePreset(
            name="reram-wan",
            noise_model="reram-wan",
            g_max_us=40.0,
            drift_compensation=True,
            times_s=(1.0, DAY_S, 2 * DAY_S),
            converters=ConverterModel(),
            source="Wan et al., Nature 2022, s41586-022-04992-8 (relaxation of NeuRRAM's HfOx ReRAM, "
            "polynomials fitted to published figures at 1 s, 1 day and 2 days). " + _IO_SOURCE,
            leaves_out=_IO_MISSING + ", any time other than the three measured ones",
        ),
    )
}


def find_preset(device: str | DevicePreset, *, perfect_io: bool = False) -> DevicePreset:
    """A preset by name; a preset passes through.

    Args:
        device: a key of `PRESETS`, or a preset of your own.
        perfect_io: drop the converters, so that only the weights carry errors.

    Raises:
        ConfigError: no preset has this name.
    """
    if isinstance(device, str):
        if device not in PRESETS:
            raise ConfigError(f"unknown device {device!r}; choose from {', '.join(PRESETS)}")
        device = PRESETS[device]
    return replace(device, converters=None) if perfect_io else device
