"""`nestevo-hw terminal`: a camera that runs its model and keeps up with a server."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import FRAMES, POSITIVE, SHARE, Range
from nestevo_hw.commands.options import Number, machine_readable, whole
from nestevo_hw.commands.pulse import pulse_of_command

_MEGABYTES = Number(Range(0.001, 1e6))


@click.command(short_help="Camera: run a model, and upload to a server.")
@click.argument("url")
@click.option("--name", required=True, help="Of this terminal, as the server's configuration has it.")
@click.option("--source", required=True, help="A video file, a folder of images, or an address such as rtsp://...")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="File with this terminal's token.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("terminal"), show_default=True,
              help="Of its state: models, frames that wait to be sent.")  # fmt: skip
@click.option("--loop", is_flag=True, help="Begin a recording again when it has ended.")
@click.option("--as-fast-as-possible", "fast", is_flag=True, help="Do not keep to the pace of a recording.")
@click.option("--every", "every_frames", type=whole(FRAMES), default=5, show_default=True,
              help="Of so many frames, look at one for sending.")  # fmt: skip
@click.option(
    "--budget-mb", type=_MEGABYTES, default=20.0, show_default=True, help="To send within --period, 1e6 bytes."
)
@click.option("--period", "period_s", type=Number(POSITIVE), default=600.0, show_default=True, metavar="SECONDS",
              help="Over which the budget is spread, and what the server has is replaced.")  # fmt: skip
@click.option("--margin", type=Number(SHARE), default=0.1, show_default=True,
              help="Share of its accuracy that must seem lost before it asks for evolution.")  # fmt: skip
@click.option("--judged", "judged_frames", type=whole(Range(4, 1000)), default=32, show_default=True,
              help="Frames that it judges itself on.")  # fmt: skip
@click.option("--ask-every", "ask_every_s", type=Number(POSITIVE), metavar="SECONDS", help="Ask so often anyway.")
@click.option("--poll", "poll_s", type=Number(POSITIVE), default=30.0, show_default=True, metavar="SECONDS",
              help="Between two questions whether there is a new model.")  # fmt: skip
@click.option("--ca", type=click.Path(path_type=Path, dir_okay=False), help="Certificates to trust, PEM.")
@click.option("--plain-http", is_flag=True, help="Send the token over a network without TLS.")
@machine_readable
def terminal(
    url: str, *, name: str, source: str, token_file: Path, folder: Path, loop: bool, fast: bool, every_frames: int,
    budget_mb: float, period_s: float, margin: float, judged_frames: int, ask_every_s: float | None, poll_s: float,
    ca: Path | None, plain_http: bool, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Run the model of a terminal on the frames of --source, and keep it up with the server at URL.

    It sends some of its frames, judges its model without labels, asks for evolution when that seems to have lost
    accuracy, fetches each new model, tries it on its own frames, and takes it into use or goes on with the old one.
    Until the server answers it works alone. Needs ONNX Runtime, no PyTorch.

    \b
    Example:
      nestevo-hw terminal http://127.0.0.1:8650 --name campus --token-file campus.token --source campus.mp4 --loop
    """
    from nestevo_hw.base.extras import require_extra

    require_extra("serve", "httpx")
    from itertools import chain

    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.terminals.config import TerminalSettings
    from nestevo_hw.terminals.link import Address, Link
    from nestevo_hw.terminals.source import open_source
    from nestevo_hw.terminals.terminal import Terminal, token_of

    settings = TerminalSettings(
        name=name, folder=folder, every_frames=every_frames, budget_mb=budget_mb, period_s=period_s, margin=margin,
        judged_frames=judged_frames, ask_every_s=ask_every_s, poll_s=poll_s,
    )  # fmt: skip
    address = Address(url=url, name=name, token=token_of(token_file), ca=ca, plain_http=plain_http)
    frames = open_source(source, pace=not fast, loop=loop)
    first = next(frames)  # before a folder is made: a source that shows nothing is refused
    with Link(address, folder / "downloads") as link, one_writer(folder):
        working = Terminal(settings, link, lambda line: click.echo(line, err=True))
        pulse_of_command().stop()  # it works for months, and is silent where nothing happens
        working.run(chain([first], frames))
    document = {"name": name, "version": working.version, **plain(working.tally)}
    if not as_json:
        for key, value in document.items():
            click.echo(f"{key}: {value}")
    return document
