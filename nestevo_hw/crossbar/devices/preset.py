"""What a device is: one memory technology with its noise law, its converters and the limits of both."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.crossbar.devices.law import CONDUCTANCE_US, ImpossibleError

if TYPE_CHECKING:
    from aihwkit.inference.noise.base import BaseNoiseModel

DAY_S = 86_400.0

AdcRange = Literal["fixed", "calibrated"]
Relaxation = Literal["none", "own", "programmed"]

type NoiseModel = BaseNoiseModel
"""Statistics of programming noise, drift and slow read noise, device by device, in the form of aihwkit."""
type NoiseLaw = Callable[[DevicePreset], NoiseModel]
"""Makes the noise model of a preset: a law as data (`devices.law`), or a function of your own."""
Bits = Annotated[int, Range(0, 16)]
Level = Annotated[float, Range(0, 1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterModel:
    """Digital-to-analog and analog-to-digital converters of one tile, and the noise between them.

    Inputs are scaled by the calibrated input range to -1..1 and weights per column to -1..1, so the output
    bound and the output noise are in units of (full-scale input x largest weight of the column).
    """

    dac_bits: Bits = 8
    """Input resolution in bits, sign included; 0 = no quantisation."""
    adc_bits: Bits = 8
    """Output resolution in bits, sign included; 0 = no quantisation."""
    output_bound: Annotated[float, Range(0, 1e9, above=True)] = 10.0
    """Full scale of the ADC; larger sums are clipped."""
    adc_range: AdcRange = "fixed"
    """fixed: `output_bound` for every layer; calibrated: each layer's ADCs have the range that its columns need on
    calibration frames, and `output_bound` only where a layer saw none. Noise before the ADC stays the same."""
    adc_quantile: Annotated[float, Range(0.5, 1)] = 0.9999
    """Of a calibrated range: share of the sums' magnitudes that do not clip; 1 = the largest that was seen."""
    adc_inl: Level = 0.0
    """Largest integral non-linearity of the ADC, in steps of its codes, the same for all: an S-shaped cubic that is 0
    in the middle and at both ends. A sum of u times the full scale is read as u + inl * step * 2.598 (u - u^3)."""
    column_calibration: bool = False
    """Whether each column gets a digital scale and offset after programming, fitted on calibration frames."""
    output_noise: Level = 0.04
    """Standard deviation of the Gaussian noise added before the ADC, drawn anew for every output."""
    input_noise: Level = 0.0
    """Standard deviation of the Gaussian noise added after the DAC, relative to a full-scale input; slow."""
    read_noise: Level = 0.0
    """Short-term noise of every cell within a product: its standard deviation, relative to the largest weight."""
    read_noise_law: Literal["constant", "pcm"] = "pcm"
    """constant: the same for all cells; pcm: times the square root of the cell's weight, as in phase change."""
    ir_drop: Level = 0.0
    """Strength of the voltage drop along the wires; 1 = the standard wire resistance (see `crossbar.wires`)."""
    ir_drop_model: Literal["approximation", "ladder"] = "approximation"
    """approximation: that of aihwkit's C++ tile; ladder: exact, one linear system a column at every age."""

    def __post_init__(self) -> None:
        for name, bits in (("dac_bits", self.dac_bits), ("adc_bits", self.adc_bits)):
            if bits != 0 and not 2 <= bits <= 16:
                raise ImpossibleError(f"need {name} = 0 (no quantisation) or 2 to 16, got {bits}")
        if not (self.output_bound > 0 and self.output_noise >= 0 and self.input_noise >= 0):
            raise ImpossibleError(
                "need output_bound > 0, output_noise >= 0 and input_noise >= 0, "
                f"got {self.output_bound}, {self.output_noise} and {self.input_noise}"
            )
        if not (self.read_noise >= 0 and self.ir_drop >= 0):
            raise ImpossibleError(f"need read_noise and ir_drop of 0 or more, got {self.read_noise} and {self.ir_drop}")
        if not 0.5 <= self.adc_quantile <= 1.0:
            raise ImpossibleError(f"need adc_quantile of 0.5 to 1, got {self.adc_quantile}")
        if not (self.adc_inl >= 0 and (self.adc_inl == 0 or self.adc_bits > 0)):
            raise ImpossibleError(
                f"need adc_inl of 0 or more, and an ADC with bits for more than 0, got {self.adc_inl} at "
                f"{self.adc_bits} bits"
            )

    @staticmethod
    def step(bits: int) -> float:
        """Quantisation step / width of the range -bound..bound: 2**bits - 2 steps, so zero is a code."""
        return 1.0 / ((1 << bits) - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRule:
    """What layers whose name matches have otherwise than the rest of the model; None: the same."""

    pattern: str
    """Shell pattern of layer names, such as "backbone.*"."""
    device: "DevicePreset | None" = None
    digital: bool = False
    """Whether they stay off the crossbar."""
    tile: tuple[int, int] | None = None
    """Rows and columns."""
    pairs: int | None = None
    weight_bits: int | None = None
    cell_bits: int | None = None
    dac_bits: int | None = None
    adc_bits: int | None = None
    output_bound: float | None = None
    """Full scale of the ADC; it is fixed there unless `adc_range` says otherwise."""
    adc_range: AdcRange | None = None

    def applied(self, base: "DevicePreset") -> "DevicePreset":
        """The device of these layers in a model on `base`.

        Raises:
            ConfigError: converters are to be changed that the device does not have, or its cells cannot do this.
        """
        preset = base if self.device is None else self.device
        io, cells = (
            self._given("dac_bits", "adc_bits", "output_bound", "adc_range"),
            self._given("pairs", "weight_bits", "cell_bits"),
        )
        converters = preset.converters
        if "output_bound" in io:
            io = {"adc_range": "fixed", **io}
        if io and converters is None:
            raise ConfigError(f"layers {self.pattern!r}: device {preset.name} has no converters to change")
        if io and converters is not None:
            converters = replace(converters, **io)
        return replace(preset, converters=converters, layers=(), **cells)

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


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
    g_min_us: float = 0.0
    """Conductance of a device that carries nothing, microsiemens: weights map to `g_min_us` .. `g_max_us`."""
    characterised_us: tuple[float, float] | None = None
    """Conductances between which the noise law was measured, microsiemens; None = any."""
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
    """Share of the devices whose conductance stays at `g_min_us`."""
    stuck_on: float = 0.0
    """Share of the devices whose conductance stays at `g_max_us`."""
    stuck_random: float = 0.0
    """Share of the devices that stay anywhere between, with equal chance, each at its own conductance."""
    relaxation: Relaxation = "none"
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
    latest_s: float | None = None
    """Where it ends; None = nowhere."""
    converters: ConverterModel | None
    """None = perfect input and output: only the weights carry errors."""
    chip: str = "generic"
    """Chip whose published figures model time, energy and wear of programming, `crossbar.chips.CHIPS`."""
    source: str
    """Where the numbers come from."""
    leaves_out: str
    """What the published device does that this preset does not model."""
    layers: tuple[LayerRule, ...] = ()
    """Layers that have it otherwise; the first rule that matches a name holds."""

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
        shares = {"off": self.stuck_off, "on": self.stuck_on, "random": self.stuck_random}
        if not (all(share in SHARE for share in shares.values()) and self.stuck <= 1):
            got = ", ".join(f"{share:g} {kind}" for kind, share in shares.items())
            raise ConfigError(f"need shares of stuck devices of 0 or more that sum to 1 or less, got {got}")
        self._check_window()
        for rule in self.layers:
            rule.applied(self)

    def _check_window(self) -> None:
        low, high = self.g_min_us, self.g_max_us
        if not (low in CONDUCTANCE_US and high in CONDUCTANCE_US and low < high):
            raise ConfigError(f"device {self.name}: need 0 <= g_min_us < g_max_us, got {low:g} and {high:g}")
        if self.characterised_us is not None:
            least, most = self.characterised_us
            if not (least <= low and high <= most):
                raise ConfigError(
                    f"device {self.name} was characterised from {least:g} to {most:g} uS, "
                    f"got a window from {low:g} to {high:g} uS"
                )

    @property
    def stuck(self) -> float:
        """Share of the devices that are stuck in any way."""
        return self.stuck_off + self.stuck_on + self.stuck_random

    def rule(self, layer: str) -> LayerRule:
        """What a layer of this name has otherwise: the first rule that matches it, or one that changes nothing."""
        return next((rule for rule in self.layers if fnmatchcase(layer, rule.pattern)), LayerRule(pattern=layer))

    def at(self, layer: str) -> "DevicePreset":
        """The device of a layer of this name."""
        return self.rule(layer).applied(self) if self.layers else self

    def perfect_io(self) -> "DevicePreset":
        """The same without converters, in all layers, so that only the weights carry errors."""
        ruled = ("dac_bits", "adc_bits", "output_bound", "adc_range")
        return self.with_all(lambda device: replace(device, converters=None), *ruled)

    @property
    def adc_range(self) -> AdcRange | None:
        """How the full scale of the ADCs is chosen; None without converters."""
        return None if self.converters is None else self.converters.adc_range

    def with_adc_range(self, adc_range: AdcRange | None) -> "DevicePreset":
        """The same with the range of the ADCs of all layers fixed or calibrated; None leaves it as it is.

        Raises:
            ConfigError: it is to be calibrated, but no layer has converters.
        """
        if adc_range is None:
            return self
        if adc_range == "calibrated" and all(device.converters is None for device in self.everywhere):
            raise ConfigError(f"device {self.name} has no converters, so no ADC has a range to calibrate")
        preset = self.with_converters(lambda io: replace(io, adc_range=adc_range), "adc_range")
        # A full scale of their own is fixed unless the rule says otherwise.
        rules = (rule if rule.output_bound is None else replace(rule, adc_range=adc_range) for rule in preset.layers)
        return replace(preset, layers=tuple(rules))

    def with_converters(self, change: Callable[[ConverterModel], ConverterModel], *ruled: str) -> "DevicePreset":
        """The same with a change of the converters of every device that a layer may get and that has some.

        Args:
            change: of the converters of one device.
            ruled: as of `with_all`.
        """

        def changed(device: DevicePreset) -> DevicePreset:
            io = device.converters
            return device if io is None else replace(device, converters=change(io))

        return self.with_all(changed, *ruled)

    def with_all(self, change: "Callable[[DevicePreset], DevicePreset]", *ruled: str) -> "DevicePreset":
        """The same with a change of every device that a layer may get, this one first.

        Args:
            change: of one device, without rules for single layers.
            ruled: what no rule shall have otherwise, fields of `LayerRule`.
        """
        nothing: dict[str, Any] = dict.fromkeys(ruled)
        rules = tuple(
            replace(rule, device=None if rule.device is None else change(rule.device), **nothing)
            for rule in self.layers
        )
        return replace(change(replace(self, layers=())), layers=rules)

    @property
    def everywhere(self) -> "tuple[DevicePreset, ...]":
        """Every device that a layer may get, this one first."""
        return (self, *(rule.applied(self) for rule in self.layers))

    @property
    def digits(self) -> int:
        """Cells that hold one weight: 1, or with bit slicing the digits of its magnitude."""
        return -(-(self.weight_bits - 1) // self.cell_bits) if self.weight_bits else 1

    def document(self) -> dict[str, Any]:
        """JSON values, a noise law that is no data by its name; `devices.stored_preset` makes the preset of them."""
        rules = [
            asdict(rule) | {"device": None if rule.device is None else rule.device.document()} for rule in self.layers
        ]
        return {**asdict(self), "noise_law": _law_document(self.noise_law), "layers": rules}

    @property
    def first_read_s(self) -> float:
        """When a benchmark reads first, seconds after programming: 1 s, or where the model of ageing begins.

        At 0 s, as programmed, no cell has been read yet, so none shows the slow read noise of every read.
        """
        if all(device.noise_law is None for device in self.everywhere):
            return 0.0
        if self.times_s is not None:
            return min(self.times_s)
        first = max(1.0, *(device.earliest_s for device in self.everywhere))
        return first if self.latest_s is None else min(first, self.latest_s)

    def check_time(self, seconds: float) -> None:
        """Refuse a time after programming for which the device has no model.

        Raises:
            ConfigError: negative, not a number, not one of `times_s`, or out of the limits of a layer's device.
        """
        for other in self.everywhere[1:]:
            other.check_time(seconds)
        if not 0.0 <= seconds < float("inf"):
            raise ConfigError(f"need a time after programming of 0 s or more, got {seconds}")
        if 0.0 < seconds < self.earliest_s:
            raise ConfigError(f"device {self.name} has no model between 0 s and {self.earliest_s:g} s")
        if self.latest_s is not None and seconds > self.latest_s:
            raise ConfigError(f"device {self.name} has no model beyond {self.latest_s:g} s, got {seconds:g} s")
        if self.times_s is not None and seconds != 0.0 and seconds not in self.times_s:
            known = ", ".join(f"{t:g}" for t in self.times_s)
            raise ConfigError(
                f"device {self.name} is characterised only at {known} s after programming, got {seconds:g} s"
            )


def _law_document(law: NoiseLaw | None) -> Any:  # noqa: ANN401 - any JSON value
    if law is None:
        return None
    if is_dataclass(law) and not isinstance(law, type):
        return asdict(law)
    return f"{law.__module__}:{getattr(law, '__qualname__', type(law).__qualname__)}"


RASCH_CONVERTERS = ConverterModel(adc_range="calibrated")
"""The standard analog in-memory-computing model of Rasch et al., Nat. Commun. 2023, 14:5282, but for the range of the
ADCs: there one output bound of 10 serves all layers, here each layer has its own."""
RASCH_SOURCE = (
    "8-bit converters and output noise 0.04 follow the standard analog in-memory-computing model of Rasch et al., "
    "Nat. Commun. 2023, 14:5282, whose fixed output bound of 10 is --adc-range fixed; they are not figures of this "
    "device"
)
RASCH_LEAVES_OUT = "ADC non-linearity, read noise within a product and IR drop unless they are set"
