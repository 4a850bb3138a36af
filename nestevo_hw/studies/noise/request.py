"""What a user asks of the benchmark, turned into a study or a clear refusal."""

from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.compute import AUTO, compute_device
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import AdcRange, device_text, find_preset
from nestevo_hw.crossbar.tile_sizes import parse_tile
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.noise.noise_aware import FineTuning
from nestevo_hw.studies.noise.plan import make_plan, parse_sweep
from nestevo_hw.studies.noise.students import Teaching, check_student
from nestevo_hw.studies.noise.study import Study
from nestevo_hw.studies.noise.subject import Setup
from nestevo_hw.studies.noise.sweeps import DeviceFile, Hardware, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `nestevo-hw bench-noise`; None where the default depends on `quick`."""

    model: str
    weights: Path | None = None
    analog: str = "pcm"
    perfect_io: bool = False
    adc_range: AdcRange | None = None
    age_s: float | None = None
    """None = the device's first read."""
    tile: str = "256"
    keep_digital: tuple[str, ...] = ()
    grouped: bool = False
    backend: Backend = "auto"
    sweeps: tuple[str, ...] = ()
    """Each "name" or "name=values"."""
    everything: bool = False
    students: bool = False
    student: str | None = None
    """A shipped terminal detector or a checkpoint; None = `Teaching`'s."""
    noise_aware: float | None = None
    noise_aware_weights: Path | None = None
    repeats: int | None = None
    frames: int | None = None
    seed: int = 0
    device: str = AUTO
    """What everything computes on: auto, cpu, cuda or cuda:N."""
    quick: bool = False
    data: DataSpec = DataSpec()

    def study(self) -> Study:
        """The benchmark, ready to run.

        Raises:
            ConfigError: an impossible request.
            InputError: weights or samples that cannot be read.
        """
        if self.noise_aware is not None and self.noise_aware_weights is not None:
            raise ConfigError("give either --noise-aware MU or --noise-aware-weights FILE, not both")
        device, tile = str(compute_device(self.device)), parse_tile(self.tile)
        text = device_text(self.analog)
        preset = find_preset(self.analog, perfect_io=self.perfect_io, text=text).with_adc_range(self.adc_range)
        named = self._named()
        files = tuple(
            DeviceFile(path=path, text=content)
            for path in map(str, named.get("analog", ())) if (content := device_text(path)) is not None
        )  # fmt: skip
        age_s = preset.first_read_s if self.age_s is None else self.age_s
        hardware = Hardware(preset=preset, tile=tile, backend=self.backend, age_s=age_s, device_files=files)
        plan = make_plan(
            hardware, named, everything=self.everything, students=self.students, quick=self.quick,
            repeats=self.repeats,
        )  # fmt: skip
        if self.student is not None and not plan.teaching:
            raise ConfigError("--student is for --students, or a sweep of student_mu or student_time_s; add one")
        setup = Setup(
            model=self.model, weights=_text(self.weights), analog=self.analog, analog_text=text,
            perfect_io=self.perfect_io, adc_range=self.adc_range, age_s=age_s, tile=tile,
            keep_digital=self.keep_digital, grouped=self.grouped, backend=self.backend, device=device, seed=self.seed,
            frames=self.frames or usual_frames(self.data, quick=self.quick), data=self.data, noise_aware=self._tuning(),
            noise_aware_weights=_text(self.noise_aware_weights), teaching=self._teaching() if plan.teaching else None,
            device_files=files,
        )  # fmt: skip
        return Study(setup, plan)

    def _named(self) -> dict[str, tuple[Value, ...]]:
        named: dict[str, tuple[Value, ...]] = {}
        for text in self.sweeps:
            name, values = parse_sweep(text)
            if name in named:
                raise ConfigError(f"sweep {name} is named twice; give all its values at once")
            named[name] = values
        return named

    def _tuning(self) -> FineTuning | None:
        if self.noise_aware is None:
            return None
        return (
            FineTuning(mu=self.noise_aware, steps=80, frames_per_place=8)
            if self.quick
            else FineTuning(mu=self.noise_aware)
        )

    def _teaching(self) -> Teaching:
        teaching = Teaching() if self.student is None else Teaching(student=self.student)
        check_student(teaching.student)
        return replace(teaching, cameras=1, upload_frames=48, test_frames=40, steps=30) if self.quick else teaching


def usual_frames(data: DataSpec, *, quick: bool) -> int:
    """Frames to score on, unless a user says another number: more of labelled samples that are one class each."""
    counted = data.source is not None and not data.source.lower().endswith(".json")
    usual, few = (240, 96) if counted else (60, 24)
    return few if quick else usual


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
