"""`nestevo-hw label`: labels for a recording that has none."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.commands import completion
from nestevo_hw.commands.options import Number, machine_readable, warn, whole


@click.command("label", short_help="Label a clip by a detector that you have as ONNX.")
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--labeller", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.onnx",
              help="The detector, as ONNX.")  # fmt: skip
@click.option("--adapter", default="nanodet", show_default=True, metavar="NAME|FILE.toml",
              shell_complete=completion.adapters,
              help="What goes into the detector and what comes out (docs/label.md).")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="COCO JSON to write.")
@click.option("--stride", type=whole(Range(1, 1_000_000)), default=1, show_default=True,
              help="Label every so many frames.")  # fmt: skip
@click.option("--score", type=Number(SHARE),
              help="From which on a detection becomes a label.  [default: of the adapter, usually 0.4]")  # fmt: skip
@click.option("--unsure", type=Number(SHARE),
              help="From which on it becomes a region that teaches nothing and scores neither right nor wrong.  "
              "[default: of the adapter, usually 0.25]")  # fmt: skip
@click.option("--confirm", is_flag=True,
              help="Have a mirrored view and enlarged parts of each frame agree: surer labels, and smaller objects, "
              "in four to six times the time.")  # fmt: skip
@click.option("--class-map", multiple=True, metavar="FROM=TO",
              help="The detector's class to the labels' class, several to one if you like; unnamed ones are left out; "
              "repeatable.  [default: all as they are]")  # fmt: skip
@click.option("--against", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.json",
              help="Compare with these labels of the same recording.")  # fmt: skip
@click.option("--threads", type=whole(Range(1, 1024)), default=1, show_default=True, help="Of ONNX Runtime.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted labelling, with the same result.")
@machine_readable
def label(
    clip: Path,
    *,
    labeller: Path,
    adapter: str,
    out: Path,
    stride: int,
    score: float | None,
    unsure: float | None,
    confirm: bool,
    class_map: tuple[str, ...],
    against: Path | None,
    threads: int,
    resume: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Label CLIP, a video or a folder of images, by a detector that you have as ONNX.

    The file is what pretrain, evolve and bench-noise read. Nobody has checked such labels; --against says how far they
    agree with some that exist. Killed, it goes on with --resume.

    \b
    Examples:
      nestevo-hw label clip.mp4 --labeller nanodet.onnx --out clip.json --stride 2
      nestevo-hw label clip.mp4 --labeller nanodet.onnx --out clip.json --class-map person=person --confirm
      nestevo-hw label frames --labeller yolo.onnx --adapter yolov8 --out frames.json --against checked.json
      nestevo-hw label clip.mp4 --labeller mine.onnx --adapter mine.toml --out clip.json --resume
    """
    from nestevo_hw.commands.data_options import class_map_of
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.label.labelling import prepare
    from nestevo_hw.studies.label.output import agreement_table, counts_table, document_of, sentence
    from nestevo_hw.studies.label.request import LabelRequest

    labelling = prepare(
        LabelRequest(
            clip=clip, labeller=labeller, adapter=adapter, out=out, stride=stride, score=score, unsure=unsure,
            class_map=class_map_of(class_map), against=against, confirm=confirm, threads=threads,
        )
    )  # fmt: skip
    # A folder in use is refused before anything is said.
    with labelling.writing(resume=resume), telling("labelling", total=len(labelling.indices)) as told:
        found = labelling.run(resume=resume, advance=told.advance)
    if found.damaged:
        warn(f"{clip}: {found.damaged} of {len(labelling.indices)} frames are damaged and have no labels")
    if found.agreement is not None and found.agreement.left_out:
        warn(f"{against}: the labeller does not know {', '.join(found.agreement.left_out)}, which are not compared")
    if not as_json:
        tables = (counts_table(found), *(() if found.agreement is None else (agreement_table(found.agreement),)))
        show(*tables, sentence(found))
    return document_of(found)
