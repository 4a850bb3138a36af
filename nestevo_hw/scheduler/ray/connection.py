"""Ray itself: the only module that imports it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

from nestevo_hw.base.errors import ConfigError

LOOPBACK = "127.0.0.1"


def import_ray() -> ModuleType:
    """Ray, with its reports about use and its log of our tasks' errors switched off.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # each is told as the end of its attempt
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ConfigError(f"the ray executor needs Ray ({error}); run `pip install nestevo-hw[ray]`") from error
    module: ModuleType = ray
    return module


@contextmanager
def _on_loopback(services: Any) -> Iterator[None]:  # noqa: ANN401 - Ray's own module
    """Keep Ray from putting this machine's address on the network in the place of 127.0.0.1.

    It does so even where it is told that address, and then its servers listen on all interfaces; on 127.0.0.1 they
    listen there alone.
    """
    before = services.get_node_ip_address
    services.get_node_ip_address = lambda *_, **__: LOOPBACK
    try:
        yield
    finally:
        services.get_node_ip_address = before


def connect(ray: ModuleType, address: str) -> None:
    """Join a cluster, or start one on this machine's loopback address.

    Raises:
        ConfigError: nothing answers.
    """
    host = address.rpartition(":")[0]
    own = LOOPBACK if address == "local" else host if host.startswith("127.") else None
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    if own is not None:  # Ray would otherwise take this machine's address on the network
        options["_node_ip_address"] = own
    starting = _on_loopback(ray._private.services) if address == "local" else nullcontext()
    # Ray prints what its daemons report on standard output, which belongs to the command's own document.
    ray._private.worker._worker_logs_enabled = False
    try:
        with starting:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"no Ray cluster at {address!r}: {first}; start one with `ray start --head`, or use address 'local'"
        ) from error
