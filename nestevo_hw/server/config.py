"""What a server allows its terminals, and when it evolves them: the section [serve] of a configuration."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nestevo_hw.base.documents import forbid_unknown_keys, parse
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import FRAMES, NOT_NEGATIVE, POSITIVE, Range
from nestevo_hw.evolution.config import RunConfig, parse_config
from nestevo_hw.evolution.presets import config_document

MEGABYTES = Range(0.001, 1e6)
COUNT = Range(1, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The server's address, its limits, and when a window begins."""

    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own need TLS."""
    port: Annotated[int, Range(0, 65535)] = 8650
    """0: any that is free."""
    certfile: str | None = None
    """TLS certificate, PEM."""
    keyfile: str | None = None
    """Its private key, PEM."""
    plain_http: bool = False
    """Listen without TLS on any address, where something before this server speaks TLS."""
    every_s: Annotated[float, POSITIVE] | None = None
    """Begin a window so often, seconds, whether terminals ask or not; None: only when one asks."""
    gather_s: Annotated[float, NOT_NEGATIVE] = 10.0
    """From a terminal's request until the window begins, seconds, in which others may join it."""
    least_frames: Annotated[int, FRAMES] = 24
    """Waiting frames from which on a terminal takes part."""
    inbox_frames: Annotated[int, FRAMES] | None = None
    """Most waiting frames of a terminal; the oldest are dropped. None: twice what an evolution takes."""
    inbox_mb: Annotated[float, MEGABYTES] = 256.0
    """Most bytes of them, 1e6."""
    frame_mb: Annotated[float, MEGABYTES] = 4.0
    """Most bytes of one frame, 1e6."""
    frame_megapixels: Annotated[float, Range(0.0001, 64)] = 9.0
    """Most pixels of one frame, 1e6."""
    requests_per_s: Annotated[float, Range(0.01, 1e5)] = 20.0
    """Of one terminal on the average; ten seconds' worth may come at once."""
    mb_per_hour: Annotated[float, MEGABYTES] = 2000.0
    """Uploaded by one terminal on the average, 1e6 bytes; an hour's worth may come at once."""
    requests_at_once: Annotated[int, COUNT] = 4
    """Of one terminal."""
    connections: Annotated[int, COUNT] = 1000
    """Open ones."""
    connections_per_address: Annotated[int, COUNT] = 100
    """Open ones of one network address."""
    head_s: Annotated[float, POSITIVE] = 10.0
    """Longest a client may take to send a request's head, seconds; so long may a connection stay idle, too."""
    body_s: Annotated[float, POSITIVE] = 60.0
    """The same for its body."""
    answer_s: Annotated[float, POSITIVE] = 900.0
    """The same for receiving an answer; a download that is cut off goes on where it was."""
    keep_free_mb: Annotated[float, NOT_NEGATIVE] = 500.0
    """Space on the disk below which frames are refused, 1e6 bytes."""
    keep_models: Annotated[int, Range(1, 1000)] = 4
    """Last models of each terminal that can be fetched, and from which differences are sent."""

    @property
    def frame_bytes(self) -> int:
        """Most bytes of one frame."""
        return round(self.frame_mb * 1e6)

    def __post_init__(self) -> None:
        if self.inbox_frames is not None and self.inbox_frames < self.least_frames:
            raise ConfigError(
                f"inbox_frames: {self.inbox_frames} is below least_frames, {self.least_frames}, so no terminal "
                "could ever take part; raise it"
            )
        if (self.certfile is None) != (self.keyfile is None):
            raise ConfigError("give both certfile and keyfile, or neither")
        if self.certfile is None and not self.plain_http and not is_loopback(self.host):
            raise ConfigError(
                f"host: {self.host} can be reached from elsewhere, and tokens would travel in the open; give "
                "certfile and keyfile, or plain_http = true where something before this server speaks TLS"
            )


forbid_unknown_keys(ServeConfig)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def load_serve_config(path: Path) -> tuple[RunConfig, ServeConfig]:
    """Read a TOML configuration of a run with a section [serve].

    Raises:
        ConfigError: the file is missing, not TOML, or not a valid configuration, or has no remote terminal.
    """
    document = config_document(path)
    serve = parse(document.pop("serve", {}), ServeConfig, f"{path}: serve", error=ConfigError)
    run = parse_config(document, source=str(path))
    if not run.remote:
        raise ConfigError(f"{path}: no terminal is remote; give those that send frames `remote = true`")
    if run.execution.executor == "ray":
        raise ConfigError(f"{path}: execution.executor: a server runs its tasks on this machine; leave ray out")
    return run, serve
