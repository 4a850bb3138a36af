"""`nestevo-hw export`: a checkpoint as a camera gets it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from nestevo_hw.base.ranges import SHARE
from nestevo_hw.commands import completion
from nestevo_hw.commands.options import NameOrOwn, Number, machine_readable
from nestevo_hw.tasks.names import TASK_NAMES

if TYPE_CHECKING:
    from nestevo_hw.models.onnx.manifest import Manifest


@click.command("export", short_help="Write a checkpoint as ONNX for a camera.")
@click.argument("checkpoint", shell_complete=completion.checkpoints)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("deployed"), show_default=True,
              help="Folder for model.onnx and manifest.json; a deployment in it is replaced.")  # fmt: skip
@click.option("--colour", type=click.Choice(("rgb", "bgr")), default="rgb", show_default=True,
              help="Order of the channels of the frames that it will be given; OpenCV reads bgr.")  # fmt: skip
@click.option("--score", type=Number(SHARE), default=0.5, show_default=True, help="Least score of what it reports.")
@click.option("--size", metavar="HEIGHTxWIDTH",
              help="At which the network sees frames of whatever size.  [default: that of its training]")  # fmt: skip
@click.option("--floats", is_flag=True,
              help="Take floats in 0..1 of that one size, without scaling and thresholds, not bytes.")  # fmt: skip
@click.option("--int8", is_flag=True,
              help="In 8 bits: smaller, and measured beside the float model (docs/deploy.md).")  # fmt: skip
@click.option(
    "--calibrate",
    metavar="SOURCE",
    help="For --int8, frames like the camera's: a video, a folder of images, or with labels a COCO .json, a "
    "folder of class folders, an .npz or package.module:loader.  [default: the task's embedded stream]",
)
@click.option("--images", type=click.Path(), metavar="PATH",
              help="Folder or video of the images of --calibrate.  [default: beside its labels]")  # fmt: skip
@click.option("--task", type=NameOrOwn(TASK_NAMES), help="Of the model.  [default: by its architecture]")
@click.option("--factory", metavar="MODULE:NAME", help="Your own code that the checkpoint's model is made by.")
@machine_readable
def export(
    checkpoint: str,
    *,
    out: Path,
    colour: Literal["rgb", "bgr"],
    score: float,
    size: str | None,
    floats: bool,
    int8: bool,
    calibrate: str | None,
    images: str | None,
    task: str | None,
    factory: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Write CHECKPOINT, a name or a .safetensors file, as ONNX that a camera runs, with a manifest that describes it.

    The model takes frames (height, width, 3) of bytes as a camera gives them, of any size; it is checked against the
    checkpoint before anything is kept. docs/deploy.md has a client.

    \b
    Examples:
      nestevo-hw export fasterrcnn-tiny-m1 --out deployed
      nestevo-hw export runs/first/windows/000/campus/terminal.safetensors --colour bgr --score 0.6
      nestevo-hw export fasterrcnn-tiny-m1 --out small --int8 --calibrate clip.mp4
      nestevo-hw export digits-cnn-m3 --json
    """
    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.sizes import parse_size
    from nestevo_hw.studies.export import ExportRequest, export_checkpoint

    manifest = export_checkpoint(
        ExportRequest(
            checkpoint=checkpoint, out=out, task=task, factory=factory, colour=colour, score=score, floats=floats,
            size=None if size is None else parse_size(size), int8=int8, calibrate=calibrate, images=images,
        )
    )  # fmt: skip
    if not as_json:
        _show(manifest, out)
    document: dict[str, Any] = {"folder": str(out), **plain(manifest)}
    return document


def _show(manifest: "Manifest", out: Path) -> None:
    from nestevo_hw.models.onnx.manifest import QuantisedManifest
    from nestevo_hw.studies.quantise import told

    taken = manifest.input
    size = "any size" if taken.size is None else "{} x {}".format(*taken.size)
    classes = ", ".join(manifest.classes.values())
    click.echo(f"Wrote {out / manifest.model} and manifest.json: {manifest.task}, {classes}")
    click.echo(f"in:  {taken.name}, {taken.layout} {taken.dtype} {taken.range[0]:g} to {taken.range[1]:g}, "
               f"{taken.colour}, {size}, seen at {taken.scaled_to[0]} x {taken.scaled_to[1]}")  # fmt: skip
    for name, words in manifest.outputs.items():
        click.echo(f"out: {name}, {words}")
    for name, value in manifest.thresholds.items():
        click.echo(f"{name}: {value:g}")
    if isinstance(manifest, QuantisedManifest):
        for line in told(manifest.quantised):
            click.echo(line)
