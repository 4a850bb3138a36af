"""What one client may take of a server, so that none hurts another: rates, bytes and time."""

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestevo_hw.base.bucket import Bucket
from nestevo_hw.base.documents import plain
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.wire.documents import Refusal, too_large

DOCUMENT_BYTES = 65_536
"""Most bytes of a request that is no frame."""
SKIP_BYTES, SKIP_S = 1_000_000, 1.0
"""Most that is read, bytes and seconds, of a request that is refused."""
BURST_S = 10.0
"""Seconds' worth of requests that may come at once."""
HOUR_S = 3600.0
STRANGER_RATE, STRANGER_BURST = 0.2, 20.0
"""Wrong tokens that one network address may give a second, and at once."""
STRANGERS = 10_000
"""Addresses that are remembered, the last ones."""


class LimitError(Exception):
    """A request that is not served; the answer says why.

    Args:
        status: of HTTP.
        error: in one line.
        retry_s: when to come again, seconds; None: not as it is.
    """

    def __init__(self, status: int, error: str, retry_s: float | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.refusal = Refusal(error=error, retry_s=retry_s)


class Allowances:
    """Requests and bytes of each terminal."""

    def __init__(self, config: ServeConfig, names: list[str], clock: Callable[[], float] = time.monotonic) -> None:
        rate, hourly = config.requests_per_s, config.mb_per_hour * 1e6
        self._requests = {name: Bucket(rate, max(1.0, rate * BURST_S), clock) for name in names}
        self._bytes = {name: Bucket(hourly / HOUR_S, hourly, clock) for name in names}
        self._open = dict.fromkeys(names, 0)
        self._most_open = config.requests_at_once
        self._lock = threading.Lock()

    @contextmanager
    def one_request(self, name: str, upload_bytes: int = 0) -> Iterator[None]:
        """Serve a request of a terminal within the block.

        Raises:
            LimitError: it asks too often, too much at once, or has sent too much.
        """
        with self._lock:
            if self._open[name] >= self._most_open:
                raise LimitError(429, f"more than {self._most_open} requests at once", 1.0)
            if wait_s := self._requests[name].take(1.0):
                raise LimitError(429, "too many requests", wait_s)
            if upload_bytes and (wait_s := self._bytes[name].take(upload_bytes)):
                raise LimitError(429, "too many bytes within an hour", wait_s)
            self._open[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[name] -= 1


class Strangers:
    """Requests with wrong tokens, by network address: a few are answered, then the address has to wait.

    Right tokens are not counted, and never wait here: who shares an address with a stranger is served.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._tries = OrderedDict[str, Bucket]()
        self.refused = 0
        """Such requests since the server was started."""

    def refuse(self, address: str, error: str) -> NoReturn:
        """End a request with a wrong token.

        Raises:
            LimitError: always; 401 with `error`, or 429 where it came too soon.
        """
        with self._lock:
            self.refused += 1
            tries = self._tries.setdefault(address, Bucket(STRANGER_RATE, STRANGER_BURST, self._clock))
            self._tries.move_to_end(address)
            if len(self._tries) > STRANGERS:
                self._tries.popitem(last=False)
            wait_s = tries.take(1.0)
        raise LimitError(429, "too many requests with wrong tokens", wait_s) if wait_s else LimitError(401, error)


class Guard:
    """Ends requests whose body is too large or takes too long, whatever they are for.

    Args:
        app: that serves the others, and answers a `LimitError` by `refused`.
        config: how large, how long.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        frame = scope["method"] == "PUT"
        most = self._config.frame_bytes if frame else DOCUMENT_BYTES
        lengths = [value for key, value in scope["headers"] if key == b"content-length"]
        too_long = LimitError(413, too_large(most) if frame else f"a request may have {most} bytes")
        if any(int(value) > most for value in lengths):
            await _skip(receive)
            await refused(too_long)(scope, receive, send)
            return
        until, received, complete = asyncio.get_running_loop().time() + self._config.body_s, 0, False
        over: LimitError | None = None

        async def limited() -> Message:
            nonlocal received, complete, over
            if complete:
                return await receive()  # which tells when the client has gone
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                over = LimitError(408, f"a request may take {self._config.body_s:g} seconds", 1.0)
                raise over from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > most:
                over = too_long
                raise over
            return message

        async def answered(message: Message) -> None:
            if over is None:  # what reads the body has other words for it
                await send(message)

        await self._app(scope, limited, answered)
        if over is not None:
            await _skip(receive)
            await refused(over)(scope, receive, send)


async def _skip(receive: Receive) -> None:
    """Read on for a little, since a client that is still sending would not hear the answer."""
    skipped, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(SKIP_S):
            while more and skipped < SKIP_BYTES:
                message = await receive()
                skipped += len(message.get("body", b""))
                more = message.get("more_body", False)


def refused(error: LimitError) -> Response:
    """The answer to a request that is not served; the connection ends, as its body may not have been read."""
    headers = {"connection": "close"}
    if error.refusal.retry_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.refusal.retry_s)))
    return JSONResponse(plain(error.refusal), error.status, headers)
