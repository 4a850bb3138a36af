"""`nestevo-hw record`: a camera's frames into a file."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.base.text import pasteable
from nestevo_hw.commands.init import check_new
from nestevo_hw.commands.options import Number, machine_readable, warn

_SECONDS, _FPS, _PATIENCE = Range(0.1, 1e6), Range(0.001, 1000), Range(0.1, 86_400)


@click.command(short_help="Record a camera or a stream into a video.")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seconds", type=Number(_SECONDS), required=True, help="Length of the recording.")
@click.option("--fps", type=Number(_FPS), help="Most frames a second; those between are left out.  [default: all]")
@click.option("--patience", type=Number(_PATIENCE), default=60.0, show_default=True, metavar="SECONDS",
              help="How long a lost camera is tried again.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@machine_readable
def record(
    source: str, out: Path, *, seconds: float, fps: float | None, patience: float, force: bool, as_json: bool
) -> dict[str, Any]:
    """Record what the camera SOURCE sends into OUT, an .mp4 that `init --video` and `evolve` read.

    SOURCE is rtsp://.., http://.., a webcam such as /dev/video0, or a video file. A lost connection is made again and
    damaged frames are left out, with a count of both. Ctrl-C ends the recording early and keeps it.

    \b
    Examples:
      nestevo-hw record rtsp://192.168.1.20/stream1 north.mp4 --seconds 1200 --fps 10
      nestevo-hw record /dev/video0 desk.mp4 --seconds 60
    """
    from nestevo_hw.base.errors import ConfigError, StoppedError
    from nestevo_hw.base.interruption import asked_to_stop
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.streams.live import LiveSource
    from nestevo_hw.streams.recording import record as write

    if out.suffix.lower() != ".mp4":
        raise ConfigError(f"OUT: need a name that ends in .mp4, got {out.name}")
    check_new(out, force=force)
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise ConfigError(f"OUT: {out} is the recording to read; choose another name")
    with asked_to_stop() as stop:
        camera, told_s = LiveSource(source, fps=fps, patience_s=patience, pause=stop.wait), 0

        with telling(f"waiting for {camera.shown}", total=int(seconds)) as told:

            def tell(time_s: float) -> None:
                nonlocal told_s
                while told_s < int(time_s):
                    told_s += 1
                    told.advance(f"{told_s} s of {camera.shown}")

            found = write(camera, out, seconds=seconds, stopped=stop.is_set, on_frame=tell)
    height, width = found.size
    text = f"{out}: {found.frames} frames of {width} x {height} in {found.seconds:.1f} s"
    if camera.damaged:
        warn(f"{camera.damaged} damaged frames are left out")
    if camera.reconnections:
        warn(f"the camera was lost; {camera.reconnections} tries to connect again")
    if stop.is_set():
        raise StoppedError(f"stopped; kept {text}", stop.number)
    if not as_json:
        click.echo(f"{text}. Next: nestevo-hw init evolve.toml --video {pasteable(out)}")
    return {
        "path": str(out), "source": camera.shown, "frames": found.frames, "seconds": found.seconds,
        "size": [height, width], "reconnections": camera.reconnections, "damaged": camera.damaged,
    }  # fmt: skip
