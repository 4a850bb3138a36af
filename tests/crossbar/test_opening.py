"""Opened modules against torch's own, over all that their signatures allow, and on tiles."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torchvision.models import vit_b_16
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.opening import opened, opened_state
from nestevo_hw.crossbar.partial import PartlyAnalog
from nestevo_hw.crossbar.signal import layer_signals
from nestevo_hw.crossbar.teacher import AnalogTeacher


def _close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


ATTENTION: list[dict[str, Any]] = [
    {}, {"batch_first": True}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True, "batch_first": True},
    {"kdim": 6, "vdim": 10}, {"kdim": 6, "vdim": 10, "bias": False, "batch_first": True, "add_bias_kv": True},
]  # fmt: skip


@pytest.mark.parametrize("options", ATTENTION, ids=str)
@torch.no_grad()
def test_attention_is_that_of_torch(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, 2, **options).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.4)
    ours, turn = opened(theirs), (lambda x: x) if options.get("batch_first") else (lambda x: x.transpose(0, 1))
    query, key, value = torch.randn(3, 4, 8), torch.randn(3, 5, theirs.kdim), torch.randn(3, 5, theirs.vdim)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True], [True] + [False] * 4])
    masks = [None, torch.rand(4, 5) > 0.8, torch.randn(4, 5), torch.randn(6, 4, 5)]
    for mask, need, mean, padded in itertools.product(masks, (True, False), (True, False), (None, padding)):
        settings = {"attn_mask": mask, "need_weights": need, "average_attn_weights": mean}
        if padded is not None:
            settings["key_padding_mask"] = padded
            if mask is not None and mask.dtype != torch.bool:
                settings["key_padding_mask"] = torch.zeros(3, 5).masked_fill(padded, float("-inf"))
        arguments = [turn(x) for x in (query, key, value)]
        _close(ours(*arguments, **settings), theirs(*arguments, **settings))
    one = [x[0] for x in (query, key, value)]
    _close(ours(*one, key_padding_mask=padding[1]), theirs(*one, key_padding_mask=padding[1]))
    if theirs.kdim == 8:
        x, causal = turn(query), nn.Transformer.generate_square_subsequent_mask(4)
        settings = {"attn_mask": causal, "is_causal": True, "need_weights": False}
        _close(ours(x, x, x), theirs(x, x, x))
        _close(ours(x, x, x, **settings), theirs(x, x, x, **settings))
    assert torch.equal(opened_state(ours, theirs.state_dict())["out_proj.weight"], theirs.out_proj.weight)
    ours.load_state_dict(opened_state(ours, theirs.state_dict()))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True},
                                     {"num_layers": 2, "bias": False}], ids=str)  # fmt: skip
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, "projected", "relu"])
@torch.no_grad()
def test_recurrent_modules_are_those_of_torch(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    if kind == "projected":
        theirs = nn.LSTM(5, 7, proj_size=3, **options)
    else:
        theirs = nn.RNN(5, 7, nonlinearity="relu", **options) if kind == "relu" else kind(5, 7, **options)
    ours = opened(theirs.eval())
    ours.load_state_dict(opened_state(ours, theirs.state_dict()))
    x = torch.randn(4, 6, 5)
    rows, batch = theirs.num_layers * (2 if theirs.bidirectional else 1), 4 if theirs.batch_first else 6
    start: Any = torch.randn(rows, batch, theirs.proj_size or 7)
    start = (start, torch.randn(rows, batch, 7)) if isinstance(theirs, nn.LSTM) else start
    _close(ours(x), theirs(x))
    _close(ours(x, start), theirs(x, start))
    _close(ours(x[0]), theirs(x[0]))
    alone = tuple(s[:, 0] for s in start) if isinstance(start, tuple) else start[:, 0]
    _close(ours(x[0], alone), theirs(x[0], alone))
    packed = pack_sequence([torch.randn(length, 5) for length in (2, 6, 1, 4)], enforce_sorted=False)
    start = tuple(s[:, :4] for s in start) if isinstance(start, tuple) else start[:, :4]
    for arguments in ((packed,), (packed, start)):
        (y, last), (expected, expected_last) = ours(*arguments), theirs(*arguments)
        _close(y.data, expected.data)
        _close(last, expected_last)
        assert torch.equal(y.batch_sizes, expected.batch_sizes)
    ours.flatten_parameters()


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@torch.no_grad()
def test_cells_are_those_of_torch(kind: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    theirs = kind(5, 7)
    ours, x = opened(theirs), torch.randn(3, 5)
    first = theirs(x)
    _close(ours(x), first)
    _close(ours(x, first), theirs(x, first))
    ours.load_state_dict(opened_state(ours, theirs.state_dict()))


class Tokens(nn.Module):
    """Patches, torch's transformer encoder, class scores."""

    def __init__(self, *, batch_first: bool = True, nested: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=batch_first, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.head = nn.Linear(16, 10)
        self.padded = nested

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        padding = torch.zeros(tokens.shape[:2], dtype=torch.bool) if self.padded else None
        return self.head(self.encoder(tokens, src_key_padding_mask=padding).mean(1))


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.recurrent = nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.conv(x.mean(2)[..., :7]).transpose(1, 2))[0][:, -1])


class Folded(nn.Module):
    """Reads its layers' weights: one to multiply with, one to do something else with."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.turned, self.asked = nn.Linear(12, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x.flatten(1)[:, :12].to(self.asked.weight.dtype), self.read.weight, self.read.bias * 2)
        return self.asked(y @ self.turned.weight)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "encoder": Tokens, "encoder, times first": lambda: Tokens(batch_first=False),
    "encoder, nested": lambda: Tokens(nested=True), "recurrent": Sequences, "reading": Folded,
}  # fmt: skip
X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_whole_models_on_tiles(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    ready = opened(model, X)
    _close(ready(X), model(X))
    ideal = AnalogTeacher(ready, device="ideal", tile=16)
    ideal.program()
    _close(ideal.module(X), model(X))
    assert map_model(ready, 16, device=find_preset("ideal")).document()["layers"] == [
        {**entry.document(), "weight_error": None} for entry in ideal.report.layers
    ]
    work = count_workload(ready, (32, 32))
    assert {entry.name for entry in ideal.report.analog} <= set(work.layers)
    teacher = AnalogTeacher(ready, device="pcm", tile=16)
    teacher.calibrate([X])
    teacher.program(ready.state_dict())
    teacher.age(3600.0)
    assert set(teacher.input_ranges) == set(teacher.effective_weights) == {e.name for e in teacher.report.analog}
    y = teacher.module(X)
    assert 0 < (y - model(X)).abs().max() < 10 * model(X).abs().max()
    assert all(signal.output_error is not None for signal in layer_signals(teacher, [X]).values())
    teacher.age(3600.0)
    teacher.save(tmp_path / "teacher.safetensors")
    again = AnalogTeacher.load(tmp_path / "teacher.safetensors", ready)
    assert torch.equal(again.module(X), y)
    partly = PartlyAnalog(again, age_s=3600.0)
    _close(partly.model((), 0)(X), model(X))


def test_a_layer_that_is_read_otherwise_stays_digital_with_its_reason() -> None:
    ready = opened(Folded().eval(), X)
    entries = {entry.name: entry for entry in map_model(ready).layers}
    assert entries["read.product"].placement == entries["asked"].placement == "analog"
    assert entries["turned"].placement == "digital"
    assert entries["turned"].reason == "its weight is used outside of the layer itself (torch.Tensor.matmul)"


def test_without_an_example_a_layer_that_is_read_says_so_when_it_runs() -> None:
    teacher = AnalogTeacher(Folded(), device="pcm")
    teacher.calibrate([X])
    teacher.program()
    with pytest.raises(MappingError, match=r"computes with the weight of read \(aten.* without calling that layer"):
        teacher.module(X)


def test_state_dicts_with_the_names_of_torch_can_be_programmed() -> None:
    torch.manual_seed(0)
    model, other = Tokens().eval(), Tokens().eval()
    teacher = AnalogTeacher(model, device="ideal")
    teacher.program(other.state_dict())
    with torch.no_grad():
        _close(teacher.module(X), other(X))
    assert "encoder.layers.0.self_attn.in_proj" in teacher.effective_weights
    _close(teacher.effective_weights["head"], other.head.weight.detach())


@pytest.mark.parametrize("second", [False, True])
@torch.no_grad()
def test_swin_is_on_tiles(second: bool) -> None:
    torch.manual_seed(0)
    kinds = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2} if second else {}
    model = SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10, **kinds).eval()
    ready = opened(model, X)
    report = map_model(ready)
    assert all(entry.placement == "analog" or entry.kind.startswith("Shifted") for entry in report.layers)
    assert "features.1.0.attn.qkv.product" in {entry.name for entry in report.analog}
    _close(ready(X), model(X))
    preset = find_preset("pcm")
    teacher = AnalogTeacher(ready, device=preset)
    teacher.calibrate([X])
    teacher.program()
    assert len(teacher.input_ranges) == len(report.analog)
    assert bool(teacher.module(X).isfinite().all())


def test_a_vision_transformer_is_analog_but_for_its_tokens() -> None:
    with torch.device("meta"):
        model = vit_b_16()
    report = map_model(model)
    assert {entry.name for entry in report.layers if entry.placement == "digital"} <= {"", "encoder"}
    assert sum(".in_proj" in entry.name for entry in report.analog) == 12
    assert report.totals.analog_weight_share > 0.99


def test_lazy_layers_are_built_by_an_example() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5)).eval()
    state = torch.random.get_rng_state()
    ready = opened(model, X)
    assert [entry.shape for entry in map_model(ready).analog] == [(4, 3, 3, 3), (5, 3600)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(model[0].weight, nn.UninitializedParameter)
    assert torch.equal(opened(model, X)(X), ready(X))


def test_what_needs_no_opening_is_the_model_itself() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 2)).train()
    before = copy.deepcopy(model.state_dict())
    assert opened(model) is model
    assert opened(model, X) is model
    assert opened(model, torch.rand(1)) is model  # it does not take that, and will say so itself
    assert model.training
    assert all("forward" not in vars(module) for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
