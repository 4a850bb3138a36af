"""HTTP connections that cannot be held without being used: a time for each head, and a number for each address."""

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from nestevo_hw.server.config import ServeConfig


def limited_protocol(config: ServeConfig) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, with a limit on idle and half-sent requests, and on connections of one address.

    uvicorn itself waits for ever for the head of a connection's first request.
    """
    open_ones: Counter[str] = Counter()

    class Limited(H11Protocol):
        """One connection."""

        _address = ""
        _overdue: asyncio.TimerHandle | None = None
        _served: object = None

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as uvicorn has it
            """See `asyncio.Protocol`."""
            super().connection_made(transport)
            self._address = (transport.get_extra_info("peername") or ("",))[0]
            open_ones[self._address] += 1
            if open_ones[self._address] > config.connections_per_address or open_ones.total() > config.connections:
                transport.abort()
                return
            self._end_in(config.head_s)

        def connection_lost(self, exc: Exception | None) -> None:
            """See `asyncio.Protocol`."""
            self._end_in(None)
            open_ones[self._address] -= 1
            if open_ones[self._address] <= 0:
                del open_ones[self._address]
            super().connection_lost(exc)

        def handle_events(self) -> None:
            """See `H11Protocol`: called when bytes have come."""
            super().handle_events()
            if self.cycle is not None and self.cycle is not self._served:
                self._served = self.cycle
                self._end_in(config.body_s + config.answer_s)

        def on_response_complete(self) -> None:
            """See `H11Protocol`: the next request may begin."""
            self._end_in(config.head_s)
            super().on_response_complete()

        def _end_in(self, seconds: float | None) -> None:
            if self._overdue is not None:
                self._overdue.cancel()
            self._overdue = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    return Limited
