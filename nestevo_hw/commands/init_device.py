"""`nestevo-hw init-device`: write a device file to change."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.text import pasteable
from nestevo_hw.commands.init import write_new
from nestevo_hw.commands.options import machine_readable
from nestevo_hw.crossbar.devices import PRESETS


@click.command("init-device", short_help="Write a file that describes a device of your own.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--from", "shipped", metavar="NAME", help=f"Begin with a shipped device: {', '.join(PRESETS)}.")
@click.option("--rpu", metavar="MODULE:NAME", help="Begin with an RPU configuration of aihwkit.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@machine_readable
def init_device(path: Path, *, shipped: str | None, rpu: str | None, force: bool, as_json: bool) -> dict[str, Any]:
    """Write a device file to PATH, which ends in .toml: a commented example, or a device that there is.

    What an RPU configuration has and a device file has not is listed, in the file too.

    \b
    Examples:
      nestevo-hw init-device my-device.toml
      nestevo-hw init-device reram.toml --from reram-cmo
      nestevo-hw init-device mine.toml --rpu aihwkit.simulator.presets:StandardHWATrainingPreset
      nestevo-hw map fasterrcnn-tiny --analog my-device.toml
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.crossbar.devices import find_preset, is_file
    from nestevo_hw.crossbar.devices.file import load_device
    from nestevo_hw.crossbar.devices.writing import device_file, example_text

    if not is_file(str(path)):
        raise ConfigError(f"{path}: a device file ends in .toml; choose another name")
    if shipped is not None and rpu is not None:
        raise ConfigError("give either --from or --rpu, not both")
    left_out: list[str] = []
    if rpu is not None:
        text, left_out = _of_rpu(rpu, path)
    elif shipped is not None:
        text = device_file(
            find_preset(shipped), [f"Device {shipped} as it ships; docs/devices.md explains every key.", ""]
        )
    else:
        text = example_text()
    load_device(str(path), text)
    write_new(path, text, force=force)
    if not as_json:
        for line in left_out:
            click.echo(f"left out: {line}")
        click.echo(f"Wrote {path}. Try it with: nestevo-hw map fasterrcnn-tiny --analog {pasteable(path)}")
    return {"path": str(path), "from": rpu or shipped or "example", "left_out": left_out}


def _of_rpu(name: str, path: Path) -> tuple[str, list[str]]:
    """Text of a device file, and what it leaves out of the configuration."""
    from nestevo_hw.crossbar.devices.writing import device_file
    from nestevo_hw.crossbar.rpu import import_rpu, open_rpu

    config = open_rpu(name)
    preset, left_out = import_rpu(config, path.stem)
    rows, columns = (side or "any number" for side in (config.mapping.max_input_size, config.mapping.max_output_size))
    comments = [f"From the RPU configuration {name}; docs/devices.md explains every key.",
                f"Its tiles have {rows} rows and {columns} columns; --tile and teacher.tile say which."]  # fmt: skip
    comments += ["Not in this file:", *(f"  {line}" for line in left_out)] if left_out else []
    return device_file(preset, [*comments, ""]), left_out
