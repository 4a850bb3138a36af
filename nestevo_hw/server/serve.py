"""A server: HTTP in one thread, the loop of `evolve` in another, one folder for both."""

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import uvicorn

from nestevo_hw.base.errors import ConfigError, OutputError
from nestevo_hw.base.locking import is_written, one_writer
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.run import checked, evolve, require_same
from nestevo_hw.scheduler.server_process import ServerProcess
from nestevo_hw.server.app import Served, create_app
from nestevo_hw.server.arrivals import Arrivals
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.connections import limited_protocol
from nestevo_hw.server.inboxes import Inboxes
from nestevo_hw.server.limits import Allowances, Guard, Strangers
from nestevo_hw.server.live import LiveView
from nestevo_hw.server.shelf import Shelf
from nestevo_hw.server.status import ServerStatus, server_status, status_page
from nestevo_hw.server.store import Store
from nestevo_hw.server.tokens import VIEWER, Tokens, require_state

RUN, FRAMES, MODELS = "run", "frames", "models"
"""Folders of a server's state."""
SPARE = 2
"""Times what an evolution takes may wait: some frames may be damaged, or of another shape."""


def serve(
    config: RunConfig,
    limits: ServeConfig,
    state: Path,
    *,
    on_start: Callable[[int], None] = lambda _: None,
    on_event: Callable[[str], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    workers: ServerProcess | None = None,
) -> NoReturn:
    """Serve until stopped; started again, it goes on. After the last window models can still be fetched.

    Args:
        config: of the run.
        limits: address and limits.
        state: folder of all that is kept.
        on_start: told the port that it listens on.
        on_event: told in one line what happens.
        on_warning: told what should be looked at.
        workers: server of worker processes, if one has been started.

    Raises:
        ConfigError: the configuration cannot run, or the folder is in use or holds something else.
        OutputError: the address cannot be listened on.
        StoppedError: stopped by Ctrl-C or a signal; what has finished is kept.
    """
    run = state / RUN
    layout = RunLayout(run.resolve())
    _check(config, limits, state, lambda _: None)
    if not is_written(state):
        _listener(limits).close()
    with one_writer(state), opened(config, limits, state) as served:
        arrivals = Arrivals(layout, limits, served.store, served.inboxes, served.shelf, on_event)
        arrivals.repair()
        served.inboxes.repair(served.names)
        with listening(served, limits) as port:
            on_start(port)
            resume = layout.run_json.exists()
            evolve(config, run, resume=resume, windows=arrivals, server=workers, on_warning=on_warning)
            on_event("the last window has ended; models can be fetched until the server is stopped")
            while True:
                threading.Event().wait()


def check_server(config: RunConfig, limits: ServeConfig, state: Path) -> list[str]:
    """Look for all that would keep a server from starting, and run nothing.

    Returns:
        What it can do with, but should be looked at, a line each.

    Raises:
        ConfigError, InputError: as `evolution.run.checked`, the certificate cannot be used, or the folder is not such a
            server's.
        OutputError: the address cannot be listened on.
    """
    if is_written(state):
        raise ConfigError(f"{state} is in use by a server that runs; stop it, or choose another --state")
    warnings = list[str]()
    _check(config, limits, state, warnings.append)
    _listener(limits).close()
    tokens = Tokens(state)
    without = [name for name in (*config.remote, VIEWER) if not tokens.has(name)]
    return [*warnings, *(f"{name} has no token yet: `nestevo-hw serve CONFIG --new-token {name}`" for name in without)]


def _check(config: RunConfig, limits: ServeConfig, state: Path, on_warning: Callable[[str], None]) -> None:
    """Refuse what cannot be served before anything is written."""
    checked(config, on_warning)
    _check_certificate(limits)
    require_state(state)
    layout = RunLayout((state / RUN).resolve())
    if os.path.lexists(layout.run_json):
        require_same(config, layout, advice="give that one again, or choose another --state")


@contextmanager
def opened(config: RunConfig, limits: ServeConfig, state: Path) -> Iterator[Served]:
    """All that a server answers from, until the block ends."""
    names, started_s = config.remote, time.time()
    strangers = Strangers()
    wanted = max(config.window.upload_frames, limits.least_frames)
    store = Store(state, names)
    inboxes = Inboxes(state / FRAMES, store, limits, limits.inbox_frames or SPARE * wanted)
    live = LiveView(state / RUN)

    def status() -> ServerStatus:
        return server_status(store, names, started_s, strangers.refused)

    try:
        yield Served(
            store=store,
            inboxes=inboxes,
            shelf=Shelf(state / MODELS, store, limits.keep_models),
            tokens=Tokens(state),
            allowances=Allowances(limits, names),
            strangers=strangers,
            names=names,
            wanted_frames=wanted,
            frame_bytes=limits.frame_bytes,
            status=status,
            page=lambda: status_page(status(), live(), inboxes.last_frames(names)),
        )
    finally:
        store.close()


@contextmanager
def listening(served: Served, limits: ServeConfig) -> Iterator[int]:
    """Answer over HTTP in a thread of its own until the block ends; yields the port.

    Raises:
        OutputError: the address cannot be listened on.
    """
    server = _Quiet(_loaded(served, limits))
    listener = _listener(limits)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="http", daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]  # connections wait in its backlog until HTTP has started
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listener(limits: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in limits.host else socket.AF_INET
    try:
        return socket.create_server((limits.host.strip("[]"), limits.port), family=family, backlog=256)
    except OSError as error:
        raise OutputError(
            f"cannot listen on {limits.host} port {limits.port}: {error.strerror}; choose another serve.port"
        ) from error


def _loaded(served: Served, limits: ServeConfig) -> uvicorn.Config:
    config = uvicorn.Config(
        Guard(create_app(served), limits), http=limited_protocol(limits), ws="none", lifespan="off",
        ssl_certfile=limits.certfile, ssl_keyfile=limits.keyfile, timeout_keep_alive=round(limits.head_s),
        timeout_graceful_shutdown=5, log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
    _check_certificate(limits)
    config.load()
    return config


def _check_certificate(limits: ServeConfig) -> None:
    if limits.certfile is None or limits.keyfile is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(limits.certfile, limits.keyfile)
    except OSError as error:  # of which those of TLS are
        raise ConfigError(f"serve.certfile: cannot use {limits.certfile} with {limits.keyfile}: {error}") from error


class _Quiet(uvicorn.Server):
    """uvicorn beside a main thread that hears of signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`: signals are the main thread's."""
        yield
