"""AnalogTeacher: a digital model on simulated crossbar tiles, programmed, aged and repeatable."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError
from nestevo_hw.base.learned_ranges import learned_ranges
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.crossbar import state as state_file
from nestevo_hw.crossbar.backend import Backend, choose_backend
from nestevo_hw.crossbar.calibration import fit_columns, observe_inputs, observe_sums
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.gpu.layer import KernelLayer, served
from nestevo_hw.crossbar.gpu.operands import Precision
from nestevo_hw.crossbar.gradients import PassingLayer, check_gradients
from nestevo_hw.crossbar.layers import CrossbarLayer, FusedLayer, error_free, folded_layer, plain_layer
from nestevo_hw.crossbar.mapping import MappingReport, map_model
from nestevo_hw.crossbar.opening import opened, opened_state
from nestevo_hw.crossbar.placement import check_weights
from nestevo_hw.crossbar.reference import ReferenceLayer
from nestevo_hw.crossbar.tile_sizes import Tile
from nestevo_hw.crossbar.tiles import LayerTiles


class AnalogTeacher:
    """Inference on an analog crossbar (paper eq. 16-17): weights as conductances, DAC in, ADC out.

    Convolutions and linear layers go onto tiles, and the projections of attention and recurrent modules, which are
    opened first (`crossbar.opening`). Biases, BatchNorm and what cannot be mapped stay digital and are listed with
    the reason in `report`. The order is calibrate, program, age, then `module(batch)`.

    Backends: `fold` puts the erroneous weights into plain layers, exact when input and output are perfect;
    `fused` adds the converters as native operations; `triton` computes what fused does in one kernel a layer, on a
    GPU; `reference` runs aihwkit's torch tile. All read the same tiles. The noise of a matrix-vector product starts
    again at every `program` and `age`.

    Args:
        model: any detector or classifier with float32 weights; it is copied, never changed.
        device: name of a preset or a preset.
        tile: rows and columns of a tile, or one number for both.
        seed: of programming noise, drift, read noise and converter noise.
        keep_digital: names of layers, or of parents whose whole subtree stays digital.
        grouped: put grouped and depthwise convolutions onto tiles too, though they leave most cells empty.
        backend: auto takes fold for perfect input and output, else fused; triton is taken where it is asked for.
        precision: number format of the kernel's products; other backends compute in float32.

    Raises:
        ConfigError: unknown device, backend or layer name, or a backend that cannot simulate the device.
        MappingError: weights that no conductance can hold.
    """

    module: nn.Module
    """Eval-mode copy of the model that computes on the crossbar; not for training."""
    report: MappingReport
    """Placement of every layer; weight errors are those measured after the last programming."""

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | DevicePreset = "pcm",
        tile: int | Tile = 256,
        seed: int = 0,
        keep_digital: Sequence[str] = (),
        grouped: bool = False,
        backend: Backend = "auto",
        precision: Precision = "fixed",
    ) -> None:
        self.precision: Precision = precision
        self.preset, self.seed, self.generation, self.age_s = find_preset(device), seed, 0, 0.0
        self.chip = 0
        self.programmed, self.grouped, model = False, grouped, opened(model)
        self._learned_ranges = learned_ranges(model)
        self.report = map_model(model, tile, keep_digital=keep_digital, grouped=grouped, device=self.preset)
        self.backend, why = choose_backend(self.preset, backend)
        self.report = replace(self.report, backend=self.backend, backend_reason=why)
        self._digital_layers: dict[str, Any] = {
            entry.name: model.get_submodule(entry.name) for entry in self.report.analog
        }
        for name, layer in self._digital_layers.items():
            check_weights(f"{name}.weight", layer.weight)
        self._tiles = {
            placed.name: LayerTiles(
                placed.name, self._digital_layers[placed.name], self.preset.at(placed.name), placed.tile, seed
            )
            for placed in self.report.analog
        }
        self._shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        self._layers = {name: self._crossbar_layer(name) for name in self._tiles}
        self._crossbar = {name: layer for name, layer in self._layers.items() if isinstance(layer, CrossbarLayer)}
        self._frames: tuple[Any, ...] | None = None
        # deepcopy puts what its memo holds in place of each layer, at every place that refers to it.
        memo: dict[int, Any] = {id(self._digital_layers[name]): self._layers[name] for name in self._layers}
        self.module = copy.deepcopy(model, memo).eval().requires_grad_(requires_grad=False)
        self._digital_layers = {name: plain_layer(layer, layer.weight) for name, layer in self._digital_layers.items()}

    def calibrate(self, batches: Iterable[Any]) -> None:
        """Set the full scale of every layer's DAC, and of calibrated ADCs, from frames like those to come.

        Runs the digital model with the target weights, so it does not depend on what was programmed. A model that has
        learned its input ranges keeps them (`base.learned_ranges`). Where columns
        are calibrated, the frames are kept, and `program` fits each column's digital scale and offset on them.

        Args:
            batches: each is what `module(batch)` takes: a tensor, or a list of images for a detector.

        Raises:
            MappingError: there was no batch.
        """
        io = self._converters()
        if not io:
            return
        ranged = {name: 1.0 - own.adc_quantile for name, own in io.items() if own.adc_range == "calibrated"}
        again = ranged or any(own.column_calibration for own in io.values())
        frames = tuple(batches) if again else batches
        twin, watched = self._twin()
        for name, full_scale in observe_inputs(twin, {name: watched[name] for name in io}, frames).items():
            # A layer that saw only zeros has none, whatever it learned: of zeros it is exact.
            self._crossbar[name].input_range = full_scale and self._learned_ranges.get(name, full_scale)
        if ranged:
            bounds = observe_sums(twin, watched, self._error_free(ranged), frames, clipped=ranged)
            for name, bound in bounds.items():
                self._crossbar[name].set_output_bound(bound, self._tiles[name])
        self._frames = tuple(frames) if self._fitted() else None

    def program(self, weights: Mapping[str, Tensor] | None = None, *, generation: int = 0, chip: int = 0) -> None:
        """Write target weights into the cells; the old ones are gone.

        Args:
            weights: state dict of the digital model with biases and BatchNorm; None writes the present
                targets again.
            generation: number of this programming; another number draws other noise.
            chip: which of the chips made alike is written; another number has other stuck devices.

        Raises:
            MappingError: keys or shapes differ from the model's, weights that no conductance can hold, or columns
                are to be fitted and there were no frames. Nothing has changed then.
        """
        fitted = self._fitted()
        if fitted and self._frames is None:
            raise MappingError("columns are calibrated on frames; call calibrate() before program()")
        if weights is not None:
            self._load(weights)
        for tiles in self._tiles.values():
            tiles.program(generation, chip=chip)
        self.generation, self.chip, self.age_s, self.programmed = generation, chip, 0.0, True
        self._refresh()
        if self._frames is not None:
            self._fit_columns(fitted, self._frames)
        self.report = self.report.with_errors(self.weight_errors())

    def age(self, seconds: float) -> None:
        """Let the programmed cells drift, and compensate the mean drift if the device does.

        Args:
            seconds: time after programming; 0 is the state right after it, before the first read and so without slow
                read noise. The result depends on this time and the seed only, not on earlier calls.

        Raises:
            MappingError: nothing was programmed.
            ConfigError: the device has no model for this time.
        """
        if not self.programmed:
            raise MappingError("nothing is programmed yet, so nothing can age; call program() first")
        self.preset.check_time(seconds)
        for tiles in self._tiles.values():
            tiles.age(seconds)
        self.age_s = float(seconds)
        self._refresh()

    @contextmanager
    def with_gradients(self) -> Iterator[None]:
        """Let gradients pass through `module` within the block, to what is digital in it or put beside its layers.

        It computes as ever: the cells stay as they are.

        Raises:
            ConfigError: the device has noise that no gradient passes (input noise).
        """
        check_gradients(self.preset, self.backend)
        with ExitStack() as leaving:
            for name, converters in self._converters().items():
                layer: Any = self._crossbar[name]
                passing = PassingLayer.like(layer, self._tiles[name], self._digital_layers[name], converters)
                layer.forward = passing.forward
                leaving.callback(layer.__dict__.pop, "forward")
            yield

    def weight_errors(self) -> dict[str, float | None]:
        """Present RMS weight error of each analog layer relative to the RMS of its target."""
        return {name: tiles.weight_error() for name, tiles in self._tiles.items()}

    @property
    def effective_weights(self) -> dict[str, Tensor]:
        """By analog layer, in its own shape: the weights that its cells hold now, converters left out.

        Cells beside the groups of a grouped convolution hold no weight and are not among them.
        """
        return {name: tiles.geometry.weight(tiles.effective_weight()) for name, tiles in self._tiles.items()}

    @property
    def input_ranges(self) -> dict[str, float]:
        """By analog layer that has been calibrated: the magnitude of input at which its DAC clips."""
        return {name: layer.input_range for name, layer in self._crossbar.items() if layer.input_range is not None}

    @property
    def output_bounds(self) -> dict[str, float]:
        """By analog layer with converters: full scale of its ADCs, in units of (full-scale input x largest weight)."""
        return {name: layer.output_bound for name, layer in self._crossbar.items()}

    def digital_twin(self) -> nn.Module:
        """A digital copy in eval mode with the target weights and the present biases and BatchNorm."""
        return self._twin()[0]

    def save(self, path: Path) -> None:
        """Write the state of every tile and of the digital part to one safetensors file.

        Raises:
            MappingError: nothing was programmed.
        """
        if not self.programmed:
            raise MappingError("nothing is programmed yet, so there is no state to save; call program() first")
        digital = {key: value for key, value in self.module.state_dict().items() if key not in self._targets()}
        state_file.write(
            path,
            tiles={name: tiles.tensors() for name, tiles in self._tiles.items()},
            input_ranges=self.input_ranges,
            output_bounds=self.output_bounds,
            digital=digital,
            header=state_file.Header(
                preset=self.preset, tile=self.report.tile, seed=self.seed, generation=self.generation,
                chip=self.chip, age_s=self.age_s, backend=self.backend,
                keep_digital=tuple(e.name for e in self.report.layers if e.reason.startswith("kept digital")),
                grouped=self.grouped, precision=self.precision,
            ),
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path, model: nn.Module, *, device: DevicePreset | None = None) -> "AnalogTeacher":
        """A teacher in the state in which `save` found it.

        Args:
            path: file written by `save`.
            model: of the same architecture; its weights do not matter.
            device: the preset it was made with, where its noise law is your own: the file does not hold that.

        Raises:
            InputError: the file is missing, corrupt, of another program, architecture or noise law.
        """
        stored = state_file.read(path, device)
        header = stored.header
        teacher = cls(
            state_file.with_targets(opened(model), stored, path), device=header.preset, tile=header.tile,
            seed=header.seed, keep_digital=header.keep_digital, grouped=header.grouped, precision=header.precision,
            # A teacher made on a GPU is read where there is none, too.
            backend="auto" if header.backend == "triton" else header.backend,
        )  # fmt: skip
        state_file.check_layers(stored, set(teacher._tiles), path)
        for name, tiles in teacher._tiles.items():
            tiles.load_tensors(stored.tiles[name], generation=header.generation, chip=header.chip, age_s=header.age_s)
        for name, full_scale in stored.input_ranges.items():
            teacher._crossbar[name].input_range = full_scale
        for name, bound in stored.output_bounds.items():
            teacher._crossbar[name].set_output_bound(bound, teacher._tiles[name])
        teacher.generation, teacher.chip = header.generation, header.chip
        teacher.age_s, teacher.programmed = header.age_s, True
        teacher.report = teacher.report.with_errors(teacher.weight_errors())
        teacher._refresh()
        return teacher

    def _crossbar_layer(self, name: str) -> nn.Module:
        digital, tiles = self._digital_layers[name], self._tiles[name]
        if self.backend == "reference":
            return ReferenceLayer(tiles, digital)
        if tiles.preset.converters is not None:
            if self.backend == "triton" and served(tiles):
                return KernelLayer(tiles, digital, tiles.preset.converters, self.precision)
            return FusedLayer(tiles, digital, tiles.preset.converters)
        return folded_layer(digital, tiles)

    def _refresh(self) -> None:
        """Take the tiles' state over into the module and start the converters' noise again."""
        for name, layer in self._layers.items():
            tiles = self._tiles[name]
            if isinstance(layer, CrossbarLayer):
                layer.install(tiles)
                layer.restart_noise(derive_seed(self.seed, "io", name, self.generation, repr(self.age_s)))
            else:
                with torch.no_grad():
                    layer.get_parameter("weight").copy_(tiles.geometry.band_weight(tiles.effective_weight()))

    def _converters(self) -> dict[str, ConverterModel]:
        """Converters of each layer that has them."""
        own = {name: self._tiles[name].preset.converters for name in self._crossbar}
        return {name: converters for name, converters in own.items() if converters is not None}

    def _fitted(self) -> set[str]:
        """Layers whose columns get a digital scale and offset."""
        return {name for name, converters in self._converters().items() if converters.column_calibration}

    def _error_free(self, names: Iterable[str]) -> dict[str, FusedLayer]:
        """What those of these layers that have inputs are without errors."""
        ranges = self.input_ranges
        return {
            name: error_free(self._tiles[name], self._digital_layers[name], ranges[name])
            for name in names if ranges.get(name)
        }  # fmt: skip

    def _fit_columns(self, names: set[str], frames: tuple[Any, ...]) -> None:
        """Fit the digital scale and offset of these layers' columns as they were just programmed."""
        twin, watched = self._twin()
        analog = {name: layer for name, layer in self._crossbar.items() if isinstance(layer, FusedLayer)}
        for name, correction in fit_columns(twin, watched, analog, self._error_free(names), frames).items():
            self._tiles[name].correction = correction
        self._refresh()

    def _twin(self) -> tuple[nn.Module, dict[str, nn.Module]]:
        plain: dict[str, nn.Module] = {}
        for name, layer in self._digital_layers.items():
            tiles = self._tiles[name]
            plain[name] = plain_layer(layer, tiles.geometry.weight(tiles.target))
            bias = getattr(self._layers[name], "bias", None)
            if bias is not None:
                plain[name].get_parameter("bias").data.copy_(bias)
        memo: dict[int, Any] = {id(self._layers[name]): plain[name] for name in plain}
        return copy.deepcopy(self.module, memo), plain

    def _targets(self) -> dict[str, str]:
        """State-dict key of every analog weight, under all its names, to the name of its layer."""
        names = ((entry.name, alias) for entry in self.report.analog for alias in (entry.name, *entry.aliases))
        return {f"{alias}.weight" if alias else "weight": name for name, alias in names}

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        weights = opened_state(self.module, weights)
        state_file.check_state(weights, self._shapes)
        targets = self._targets()
        for key, name in targets.items():
            check_weights(key, weights[key])
            first = f"{name}.weight" if name else "weight"
            if key != first and not torch.equal(weights[key], weights[first]):
                raise MappingError(f"{key} and {first} are one layer in the model but differ in the weights")
        for key, name in targets.items():
            self._tiles[name].set_target(weights[key])
        # The analog weights are no part of it: they live in the tiles.
        self.module.load_state_dict({k: v for k, v in weights.items() if k not in targets}, strict=False)
