"""`nestevo-hw serve`: the loop as a server."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import MOST_WINDOWS, Range
from nestevo_hw.commands.checked import found_right
from nestevo_hw.commands.options import WINDOW_COUNT, WORKERS, compute_override, machine_readable, warn, whole
from nestevo_hw.commands.pulse import pulse_of_command
from nestevo_hw.evolution.preload import PRELOAD
from nestevo_hw.scheduler.server_process import ServerProcess


@click.command(short_help="Server: evolve the models of remote terminals.")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), default=Path("state"), show_default=True,
              help="Folder of all that the server keeps; started again with it, it goes on.")  # fmt: skip
@click.option("--new-token", metavar="NAME", help="Make a token for this terminal, or @status for who may look; print "
              "it, and end. A running server takes it at once.")  # fmt: skip
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the token there, for its owner alone, in place of printing it.")  # fmt: skip
@click.option("--port", type=whole(Range(0, 65535)), help="Override serve.port; 0: any that is free.")
@click.option("--windows", type=WINDOW_COUNT, help=f"End evolving after so many windows.  [default: {MOST_WINDOWS}]")
@click.option("--workers", type=WORKERS, help="Override the number of worker processes.")
@click.option("--check", is_flag=True, help="Look for all that can be found wrong beforehand, and serve nothing.")
@compute_override
@machine_readable
def serve(
    config: Path,
    *,
    state: Path,
    new_token: str | None,
    to: Path | None,
    port: int | None,
    windows: int | None,
    workers: int | None,
    check: bool,
    device: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Take frames from the remote terminals of CONFIG, evolve their models, and hand these out, until stopped.

    docs/serve.md goes from nothing to a server and two terminals; the server itself shows what it can be asked under
    /docs, and how it does under /.

    \b
    Examples:
      nestevo-hw serve office.toml --state state --new-token campus --to campus.token
      nestevo-hw serve office.toml --state state --check
      nestevo-hw serve office.toml --state state
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.extras import require_extra

    require_extra("serve", "fastapi", "uvicorn")
    if new_token is None and to is not None:
        raise ConfigError("--to is for --new-token; add it, or leave --to out")
    if new_token is not None:
        return _token(config, state, new_token, to, quiet=as_json)
    server = None if check else click.get_current_context().with_resource(ServerProcess(PRELOAD))
    from dataclasses import replace

    from nestevo_hw.base.documents import json_line
    from nestevo_hw.evolution.config import override
    from nestevo_hw.server.config import load_serve_config
    from nestevo_hw.server.serve import check_server
    from nestevo_hw.server.serve import serve as run

    settings, limits = load_serve_config(config)
    changes = {"window.count": windows or MOST_WINDOWS, "execution.workers": workers, "execution.device": device}
    settings = override(settings, changes)
    limits = limits if port is None else replace(limits, port=port)
    if check:
        return found_right(settings, check_server(settings, limits, state), quiet=as_json)

    def tell(line: str) -> None:
        click.echo(line, err=True)

    def started(listening: int) -> None:
        pulse_of_command().stop()  # from now on it is silent where nothing happens
        tell(f"listens on {limits.host} port {listening}")
        if as_json:
            click.echo(json_line({"host": limits.host, "port": listening, "state": str(state)}))

    return run(settings, limits, state, on_start=started, on_event=tell, on_warning=warn, workers=server)


def _token(config: Path, state: Path, name: str, to: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Make a token and give it away, this once."""
    from nestevo_hw.server.config import load_serve_config
    from nestevo_hw.server.tokens import Tokens, check_holder, new_token

    check_holder(name, load_serve_config(config)[0].remote)
    before = Tokens(state).has(name)
    token = new_token(state, name, to=to)
    if before and not quiet:
        warn(f"the token that {name} had no longer holds")
    if not quiet:
        click.echo(token if to is None else f"Wrote the token of {name} to {to}; its owner alone can read it")
    return {"name": name, "token": token if to is None else None, "file": None if to is None else str(to)}
