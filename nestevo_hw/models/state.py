"""Bare state dicts of anybody's training, as safetensors or as PyTorch writes them, into models of the same shape."""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import require_file
from nestevo_hw.base.learned_ranges import give_ranges
from nestevo_hw.base.tensors import read_header, read_tensors

TORCH_SUFFIXES = (".pt", ".pth")
"""Files that `torch.save` wrote; all others are safetensors."""
_INSIDE = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the weights beside the optimiser."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and `torch.compile` put before every name."""
_COUNTER = "num_batches_tracked"
"""Of BatchNorm; it plays no part in inference, and older files lack it."""
HEADS = ("roi_heads.box_predictor.", "fc.", "head.")
"""What names of the last layer, with an output for each class, begin with."""
_SAVE = 'save the weights alone: torch.save(model.state_dict(), "weights.pt")'


def is_torch_file(path: Path) -> bool:
    """Whether a file is one of PyTorch's, by its name."""
    return path.suffix.lower() in TORCH_SUFFIXES


def read_state(path: Path, own: Collection[str] = ()) -> dict[str, Tensor]:
    """The state dict in a file, its names without what wrappers put before them.

    A file of PyTorch is read without running any code in it (`weights_only`).

    Args:
        path: of the file.
        own: names of the model that it is for; where the file has any of them, nothing was put before.

    Raises:
        InputError: the file is missing, damaged, or holds something else than tensors by name.
    """
    state = _torch_state(path) if is_torch_file(path) else read_tensors(path)[1]
    while not state.keys() & own and (prefix := next((p for p in _PREFIXES if _all_begin(state, p)), "")):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _all_begin(names: Collection[str], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)


def load_state(model: nn.Module, path: Path) -> None:
    """Load a bare state dict of exactly the model's names and shapes; counters of BatchNorm may be missing.

    The model knows the input ranges of the file's header, if it has any (`base.learned_ranges`).

    Raises:
        InputError: as `read_state`, or the file does not fit the model, or holds NaN.
    """
    fit_state(model, read_state(path, model.state_dict().keys()), path)
    if not is_torch_file(path):
        give_ranges(model, read_header(path), path)


def fit_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict that has been read from `path`.

    Raises:
        InputError: it does not fit the model, or holds NaN, or whole numbers as weights.
    """
    own = model.state_dict()
    for key, tensor in own.items():
        if key not in state and not key.endswith(_COUNTER):
            raise InputError(f"{path}: tensor {key} is missing; {_belongs(state, own)}")
        if key in state and state[key].shape != tensor.shape:
            raise InputError(f"{path}: {key} expected shape {tuple(tensor.shape)} but got {tuple(state[key].shape)}")
        if key in state and tensor.is_floating_point() and not state[key].is_floating_point():
            kind = str(state[key].dtype).removeprefix("torch.")
            raise InputError(f"{path}: {key} is {kind}, not floats; save the model before it is quantised")
        if key in state and state[key].is_floating_point() and not bool(torch.isfinite(state[key]).all()):
            raise InputError(f"{path}: {key} holds NaN or infinite values; train the model again")
    left_over = sorted(key for key in set(state) - set(own) if not key.endswith(_COUNTER))
    if left_over:
        raise InputError(f"{path}: unexpected tensor {left_over[0]}; {_belongs(state, own)}")
    # What is missing or too much are counters only.
    model.load_state_dict({key: tensor for key, tensor in state.items() if key in own}, strict=False)


def load_body(model: nn.Module, path: Path) -> None:
    """Load all but the last layer, which stays as it is, from the state dict of a model for other classes.

    Raises:
        InputError: as `load_state`, of all other layers; or none of a known name is the last one.
    """
    own = model.state_dict()
    state = read_state(path, own.keys())
    heads = [head for head in HEADS if any(name.startswith(head) for name in own)]
    if not heads:
        raise InputError(
            f"{path}: its last layer is not known by name ({', '.join(HEADS)}); give one for these classes"
        )
    body = {name: tensor for name, tensor in state.items() if not name.startswith(heads[0])}
    fit_state(model, body | {name: tensor for name, tensor in own.items() if name.startswith(heads[0])}, path)


def _belongs(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What to think of names that do not match."""
    shared = len(set(state) & set(own))
    if shared:
        return f"the file belongs to another model ({shared} of its {len(own)} names match)"
    first = next(iter(state), "none")
    return f"the file belongs to another model (none of its names matches; its first is {first})"


def _torch_state(path: Path) -> dict[str, Tensor]:
    require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats
            found: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of pickle, zipfile and torch, which share no other base class
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise InputError(f"{path} holds more than tensors by name, which is not loaded; {_SAVE}") from error
        raise InputError(f"{path} is not a readable file of PyTorch; {_SAVE}") from error
    if isinstance(found, Mapping):
        found = next((found[key] for key in _INSIDE if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{path} holds {_kind(found)}, not tensors by name; {_SAVE}")
    odd = next((key for key, value in found.items() if not isinstance(value, Tensor) or not isinstance(key, str)), None)
    if odd is not None:
        raise InputError(f"{path}: {odd!r} is {_kind(found[odd])}, not a tensor; {_SAVE}")
    return {str(key): value.detach() for key, value in found.items()}


def _kind(value: object) -> str:
    """A value's type in words."""
    if isinstance(value, Mapping) and not value:
        return "nothing"
    return f"a {type(value).__name__}"
