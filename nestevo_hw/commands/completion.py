"""What a shell completes: names of models, devices and chips, and files."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import PRESETS
from nestevo_hw.models.names import ADAPTERS, PRETRAINED, names


def models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models by name; where none fits, files such as net.onnx."""
    return _beginning(names(), incomplete) or [CompletionItem(incomplete, type="file")]


def checkpoints(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped checkpoints by name; where none fits, files such as terminal.safetensors."""
    return _beginning(PRETRAINED, incomplete) or [CompletionItem(incomplete, type="file")]


def devices(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices of the crossbar."""
    return _beginning(PRESETS, incomplete)


def adapters(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """How detectors are read, by name; where none fits, files such as mine.toml."""
    return _beginning(ADAPTERS, incomplete) or [CompletionItem(incomplete, type="file")]


def chips(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Chips by name; where none fits, files such as mine.toml."""
    return _beginning(CHIPS, incomplete) or [CompletionItem(incomplete, type="file")]


def _beginning(known: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
