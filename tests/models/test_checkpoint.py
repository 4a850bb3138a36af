"""Detectors survive their files, pruned ones bit for bit; damaged files give one clear line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.tensors import read_tensors
from nestevo_hw.models.checkpoint import ModelSpec, load_detector, load_model, read_spec, save_model
from nestevo_hw.models.faster_rcnn import as_list, box_feature_width
from nestevo_hw.models.pruning import PRUNING_RATIOS, prune

SPEC = ModelSpec(architecture="fasterrcnn-tiny", classes=("a", "b"), min_size=128, max_size=160)


def build():
    torch.manual_seed(0)
    return SPEC.build().eval()


@pytest.mark.parametrize("ratio", PRUNING_RATIOS.values())
def test_a_pruned_detector_survives_its_file_bit_for_bit(tmp_path, ratio):
    model = prune(build(), ratio).eval()
    save_model(model, SPEC, tmp_path / "m.safetensors")
    back, spec = load_detector(tmp_path / "m.safetensors")
    image = as_list(torch.randint(0, 255, (1, 3, 128, 160), dtype=torch.uint8))
    assert spec == SPEC
    assert torch.equal(back(image)[0]["boxes"], model(image)[0]["boxes"])


def test_pruning_removes_parameters_and_keeps_what_models_share():
    full, sizes = build(), []
    for ratio in PRUNING_RATIOS.values():
        model = prune(build(), ratio)
        assert box_feature_width(model) == box_feature_width(full)
        assert model.backbone.out_channels == full.backbone.out_channels
        sizes.append(sum(p.numel() for p in model.parameters()) / sum(p.numel() for p in full.parameters()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(0.66, abs=0.08)
    assert sizes[-1] == pytest.approx(0.32, abs=0.08)


def test_pruning_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"got 1\.5"):
        prune(build(), 1.5)


def test_half_precision_keeps_batch_norm_statistics(tmp_path):
    model = build()
    model.backbone.body.stem[1].running_var.fill_(1e9)
    save_model(model, SPEC, tmp_path / "m.safetensors", half=True)
    _, tensors = read_tensors(tmp_path / "m.safetensors")
    assert tensors["backbone.body.stem.0.weight"].dtype == torch.float16
    assert load_detector(tmp_path / "m.safetensors")[0].backbone.body.stem[1].running_var.max() == 1e9


def test_damaged_files_are_named_with_what_to_do(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="no file"):
        load_detector(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_detector(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a nestevo-hw model"):
        load_detector(path)


def test_the_spec_is_read_from_the_header_alone(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_model(build(), SPEC, path, notes={"steps": "3"})
    assert load_model(path)[1] == SPEC
    monkeypatch.setattr("nestevo_hw.models.checkpoint.read_tensors", None)
    assert read_spec(path) == SPEC


@pytest.mark.parametrize("read", [read_spec, load_model])
def test_a_damaged_header_is_one_line(tmp_path, read):
    path = tmp_path / "m.safetensors"
    save_model(build(), SPEC, path)
    whole = path.read_bytes()
    for damaged, message in (
        (whole[:100], "not a readable safetensors file"),
        (whole.replace(b"min_size", b"min_sizE"), "m.safetensors: spec: min_size: field required; make it again"),
        (whole.replace(b'\\"min_size\\": 128', b'\\"min_size\\": 1.5'), r"spec: min_size: input should be .*got 1\.5"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    for header, message in (({}, "not a nestevo-hw model"), ({"format": "nestevo-hw-model"}, "spec is not valid JSON")):
        save_file({"x": torch.zeros(1)}, path, header)
        with pytest.raises(InputError, match=message):
            read(path)


def test_nan_and_foreign_tensors_are_refused(tmp_path):
    model, path = build(), Path(tmp_path / "m.safetensors")
    model.roi_heads.box_predictor.cls_score.bias.data[0] = float("nan")
    save_model(model, SPEC, path)
    with pytest.raises(InputError, match=r"box_predictor\.cls_score\.bias holds NaN"):
        load_detector(path)
    bigger = ModelSpec(architecture="fasterrcnn-tiny", classes=("a", "b", "c"), min_size=128, max_size=160)
    save_model(bigger.build(), SPEC, path)
    with pytest.raises(InputError, match="expected shape"):
        load_detector(path)


def test_an_unknown_architecture_names_the_known_ones():
    with pytest.raises(ConfigError, match="choose from fasterrcnn-tiny"):
        ModelSpec(architecture="yolo", classes=("a",), min_size=1, max_size=1).build()
