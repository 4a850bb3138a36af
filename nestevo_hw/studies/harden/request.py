"""What a user asks of `harden`, turned into a study or a clear refusal."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.compute import AUTO, compute_device
from nestevo_hw.crossbar.devices import DAY_S, AdcRange, device_text
from nestevo_hw.crossbar.tile_sizes import parse_tile
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.harden.config import Effort, HardeningConfig
from nestevo_hw.studies.harden.study import Study
from nestevo_hw.studies.harden.subject import Setup

_USUAL, _EFFORT = HardeningConfig(), Effort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `nestevo-hw harden`; None where the default depends on `quick`."""

    model: str
    weights: Path | None = None
    analog: str = "pcm"
    adc_range: AdcRange | None = None
    tile: str = "256"
    keep_digital: tuple[str, ...] = ()
    grouped: bool = False
    age_s: float = DAY_S
    steps: int | None = None
    batch_size: int = _USUAL.batch_size
    learning_rate: float = _USUAL.learning_rate
    samples: int | None = None
    drop_connect: float = _USUAL.drop_connect
    clip: float = _USUAL.clip
    compared_mu: float = 0.0
    seeds: int | None = None
    repeats: int | None = None
    frames: int | None = None
    seed: int = 0
    device: str = AUTO
    """What everything computes on: auto, cpu, cuda or cuda:N."""
    quick: bool = False
    data: DataSpec = DataSpec()

    def study(self) -> Study:
        """The hardening, ready to run.

        Raises:
            ConfigError: an impossible request.
            InputError: weights or samples that cannot be read.
        """
        config = HardeningConfig(
            steps=self.steps or (20 if self.quick else _USUAL.steps), batch_size=self.batch_size,
            learning_rate=self.learning_rate, samples=self.samples or (80 if self.quick else _USUAL.samples),
            age_s=self.age_s, drop_connect=self.drop_connect, clip=self.clip,
        )  # fmt: skip
        setup = Setup(
            model=self.model, weights=None if self.weights is None else str(self.weights), analog=self.analog,
            analog_text=device_text(self.analog), adc_range=self.adc_range, tile=parse_tile(self.tile),
            keep_digital=self.keep_digital, grouped=self.grouped, device=str(compute_device(self.device)),
            seed=self.seed, data=self.data, config=config,
            frames=self.frames or self._usual_frames(),
        )  # fmt: skip
        return Study(setup, Effort(
            seeds=self.seeds or (1 if self.quick else _EFFORT.seeds),
            repeats=self.repeats or (3 if self.quick else _EFFORT.repeats), compared_mu=self.compared_mu,
        ))  # fmt: skip

    def _usual_frames(self) -> int:
        """Those of `bench-noise` for boxes; more of samples that are one class each."""
        source = self.data.source
        boxes = self.model.startswith("fasterrcnn") if source is None else source.lower().endswith(".json")
        usual, few = (60, 24) if boxes else (240, 96)
        return few if self.quick else usual
