"""nn.LSTM, nn.GRU and nn.RNN with their projections as layers, and their cells."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from nestevo_hw.crossbar.opening.module import OpenModule, linear

State = tuple[Tensor, ...]
"""(batch, features) hidden state, with an LSTM's cell state behind it."""
Step = Callable[[Tensor, Tensor, State], State]
"""From what the input and the hidden state give, and the state, to the next state."""


def _lstm(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    """Hochreiter and Schmidhuber 1997 with forget gates, in torch's order of gates."""
    keep_in, forget, new, out = (from_input + from_hidden).chunk(4, dim=-1)
    cell = forget.sigmoid() * state[1] + keep_in.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _gru(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    """Cho et al. 2014, with the reset gate behind the product, as torch has it."""
    (reset, update, new), (reset_h, update_h, new_h) = (x.chunk(3, dim=-1) for x in (from_input, from_hidden))
    candidate = (new + (reset + reset_h).sigmoid() * new_h).tanh()
    return (candidate + (update + update_h).sigmoid() * (state[0] - candidate),)


def _tanh(from_input: Tensor, from_hidden: Tensor, _state: State) -> State:
    return ((from_input + from_hidden).tanh(),)


def _relu(from_input: Tensor, from_hidden: Tensor, _state: State) -> State:
    return ((from_input + from_hidden).relu(),)


_STEPS: dict[str, Step] = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _tanh, "RNN_RELU": _relu}


class OpenRecurrent(OpenModule):
    """The inputs of all times go through one call of a layer's `ih`, the state through a call of `hh` each time."""

    copied: ClassVar[tuple[str, ...]] = (
        "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
        "proj_size",
    )  # fmt: skip

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__(module)
        self.mode: str
        self.num_layers: int
        self.batch_first: bool
        self.dropout: float
        self.hidden_size: int
        self.proj_size: int
        self._step = _STEPS[module.mode]
        self._directions = ("", "_reverse") if module.bidirectional else ("",)
        self.renamed = {}
        for suffix in (f"l{k}{way}" for k in range(module.num_layers) for way in self._directions):
            for kind in ("ih", "hh", "hr")[: 3 if module.proj_size else 2]:
                bias = getattr(module, f"bias_{kind}_{suffix}", None)
                self.add_module(f"{kind}_{suffix}", linear(getattr(module, f"weight_{kind}_{suffix}"), bias))
                self.renamed |= {f"{x}_{kind}_{suffix}": f"{kind}_{suffix}.{x}" for x in ("weight", "bias")}

    def flatten_parameters(self) -> None:
        """Nothing: what torch's own does for cuDNN."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:  # noqa: ANN401 - the signature is torch's
        """As torch's own: outputs of all times, and the last state."""
        if isinstance(input, PackedSequence):
            data, sizes, order, back = input
            outputs, last = self._layers(data, sizes.tolist(), self._state(hx, data, int(sizes[0]), order))
            packed = PackedSequence(outputs, sizes, order, back)
            return packed, self._given(last if back is None else tuple(x.index_select(1, back) for x in last))
        single = input.ndim == 2
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        times, batch = x.shape[:2]
        hx = _map(hx, lambda state: state.unsqueeze(1)) if single else hx
        y, last = self._layers(x.flatten(0, 1), [batch] * times, self._state(hx, x, batch, None))
        y = y.unflatten(0, (times, batch))
        y = y.squeeze(1) if single else y.transpose(0, 1) if self.batch_first else y
        return y, self._given(tuple(state.squeeze(1) for state in last) if single else last)

    def _state(self, hx: Any, like: Tensor, batch: int, order: Tensor | None) -> State:  # noqa: ANN401
        """(layers * directions, batch, features) states to begin with, in the order of the batch."""
        if hx is None:
            rows = self.num_layers * len(self._directions)
            state = [like.new_zeros(rows, batch, self.proj_size or self.hidden_size)]
            return (*state, like.new_zeros(rows, batch, self.hidden_size)) if self.mode == "LSTM" else tuple(state)
        states = hx if isinstance(hx, tuple) else (hx,)
        return tuple(states) if order is None else tuple(x.index_select(1, order) for x in states)

    def _given(self, states: State) -> Any:  # noqa: ANN401 - a tuple of an LSTM only
        return states if self.mode == "LSTM" else states[0]

    def _layers(self, data: Tensor, sizes: list[int], states: State) -> tuple[Tensor, State]:
        """All layers on (sum of sizes, features) inputs, of which `sizes` belong to each time."""
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for way in self._directions:
                start = tuple(x[len(last)] for x in states)
                output, end = self._one(f"l{layer}{way}", data, sizes, start)
                outputs.append(output)
                last.append(end)
            data = torch.cat(outputs, dim=-1)
            if layer + 1 < self.num_layers:
                data = F.dropout(data, self.dropout, self.training)
        return data, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def _one(self, suffix: str, data: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        """One layer in one direction; sequences that have not begun or have ended keep their state."""
        given = list(self.get_submodule(f"ih_{suffix}")(data).split(sizes))
        hidden_layer, project = self.get_submodule(f"hh_{suffix}"), self._modules.get(f"hr_{suffix}")
        outputs: list[Tensor] = [data] * len(sizes)
        times = range(len(sizes))
        for t in reversed(times) if suffix.endswith("_reverse") else times:
            size = sizes[t]
            before = tuple(x[:size] for x in state)
            after = self._step(given[t], hidden_layer(before[0]), before)
            if project is not None:
                after = (project(after[0]), *after[1:])
            outputs[t] = after[0]
            state = tuple(torch.cat([new, old[size:]]) for new, old in zip(after, state, strict=True))
        return torch.cat(outputs), state


class OpenCell(OpenModule):
    """nn.LSTMCell, nn.GRUCell or nn.RNNCell."""

    copied: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias")
    renamed: Mapping[str, str] = {
        f"{value}_{kind}": f"{kind}.{value}" for kind in ("ih", "hh") for value in ("weight", "bias")
    }

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - torch's base class of cells is not public
        super().__init__(module)
        self.hidden_size: int
        kind = type(module).__name__.removesuffix("Cell")
        self._step = _STEPS[f"RNN_{module.nonlinearity.upper()}" if kind == "RNN" else kind]
        self._states = 2 if kind == "LSTM" else 1
        self.ih = linear(module.weight_ih, module.bias_ih)
        self.hh = linear(module.weight_hh, module.bias_hh)

    def forward(self, input: Tensor, hx: Any = None) -> Any:  # noqa: ANN401 - the signature is torch's
        """As torch's own: the next state."""
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            hx = (zeros,) * self._states
        state = hx if isinstance(hx, tuple) else (hx,)
        after = self._step(self.ih(input), self.hh(state[0]), state)
        return after if self._states == 2 else after[0]


def _map(states: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401
    """A change of each state, of one or of a tuple."""
    if states is None:
        return None
    return tuple(change(state) for state in states) if isinstance(states, tuple) else change(states)
