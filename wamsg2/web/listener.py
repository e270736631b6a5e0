"""Opening a port: how many may be connected, and for how long they may do nothing.

aiohttp has no limit for either: a client that never ends its headers would keep its connection for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeAlias, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wamsg2.clock import Clock
from wamsg2.model import WamsgError

log = structlog.get_logger()

#: Answers whatever comes to a port, routes and all.
Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: From the connection, or from the first byte of a later request, to the end of the request's headers.
HEADERS_SECONDS = 10.0
#: A connection that has made a request may wait this long with its next one.
KEEP_ALIVE_SECONDS = 75.0
#: A newcomer takes the place of one that has waited this long; of no younger one, or a burst would eat itself.
_EVICTABLE_SECONDS = 1.0
_SWEEP_SECONDS = 1.0
_SHUTDOWN_SECONDS = 5.0


class ListenError(WamsgError):
    """A port cannot be opened; the message says which."""


class _RequestLog:
    """aiohttp's word on requests: that somebody sends what is no HTTP is not worth a line, let alone a traceback."""

    def debug(self, *_arguments: object, **_more: object) -> None:
        """Not worth a line."""

    def warning(self, message: str, *_arguments: object, **_more: object) -> None:
        log.warning("request.odd", what=message)

    def exception(self, message: str, *_arguments: object, exc_info: BaseException | None = None) -> None:
        if not isinstance(exc_info, HttpProcessingError):
            log.error("request.failed", what=message, exc_info=exc_info)


class _Connection(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol, and knows until when something must happen."""

    def __init__(self, inner: asyncio.Protocol, door: "Door") -> None:
        self._inner = inner
        self._door = door
        self._began = False
        self.transport: asyncio.Transport | None = None
        self.since_seconds = 0.0  #: of doing nothing, by the monotonic clock
        self.until_seconds = 0.0
        self.busy = 0  #: requests that are being answered

    def rest(self, now_seconds: float, patience_seconds: float) -> None:
        """Nothing is asked just now."""
        self._began = patience_seconds <= HEADERS_SECONDS
        self.since_seconds, self.until_seconds = now_seconds, now_seconds + patience_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)
        self._door.enter(self)

    def data_received(self, data: bytes) -> None:
        if not self._began:  # of another request on a connection that was kept
            self.rest(self._door.clock.monotonic(), HEADERS_SECONDS)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        self._inner.connection_lost(exc)


class Door:
    """Lets so many connections in, and shows out those that only stand there.

    Args:
        most: connections at once. When full, a newcomer takes the place of the one that has done nothing for
            longest, and is shown out itself where all are busy.
        clock: for how long they stand there.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self.clock = clock
        self._inside: dict[asyncio.Transport, _Connection] = {}
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None

    def guard(self, inner: asyncio.Protocol) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return _Connection(inner, self)

    def enter(self, connection: _Connection) -> None:
        """A connection was made."""
        assert connection.transport is not None  # noqa: S101 - it has just been made
        now_seconds = self.clock.monotonic()
        if len(self._inside) >= self._most and not self._make_room(now_seconds):
            connection.transport.abort()
            return
        connection.rest(now_seconds, HEADERS_SECONDS)
        self._inside[connection.transport] = connection
        if self._sweep is None:
            self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._show_out)

    def leave(self, connection: _Connection) -> None:
        """A connection was lost."""
        if connection.transport is not None:
            self._inside.pop(connection.transport, None)

    @web.middleware
    async def middleware(
        self, request: web.BaseRequest, handler: Callable[[Any], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Who is being answered is not idle, however long it takes; the handlers have limits of their own."""
        connection = self._inside.get(request.transport) if request.transport else None
        if connection is None:
            return await handler(request)
        connection.busy += 1
        try:
            return await handler(request)
        finally:
            connection.busy -= 1
            connection.rest(self.clock.monotonic(), KEEP_ALIVE_SECONDS)

    def close(self) -> None:
        """Sweep no more."""
        if self._sweep is not None:
            self._sweep.cancel()

    def _make_room(self, now_seconds: float) -> bool:
        before_seconds = now_seconds - _EVICTABLE_SECONDS
        idle = [c for c in self._inside.values() if not c.busy and c.since_seconds <= before_seconds]
        if not idle:
            return False
        self._abort(min(idle, key=lambda c: c.since_seconds))
        return True

    def _show_out(self) -> None:
        now_seconds = self.clock.monotonic()
        for connection in [c for c in self._inside.values() if not c.busy and c.until_seconds <= now_seconds]:
            self._abort(connection)
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._show_out) if self._inside else None

    def _abort(self, connection: _Connection) -> None:
        assert connection.transport is not None  # noqa: S101 - it is inside
        self._inside.pop(connection.transport, None)
        connection.transport.abort()


class _GuardedSite(web.BaseSite):
    """A `TCPSite` whose connections come through a door."""

    def __init__(self, runner: web.BaseRunner, host: str, port: int, door: Door) -> None:
        super().__init__(runner, backlog=1024)
        self._host = host
        self._port = port
        self._door = door

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._door.guard(server()), self._host, self._port, backlog=self._backlog
        )


def _runner(served: web.Application | Answer, door: Door) -> web.BaseRunner:
    options: dict[str, Any] = {
        "access_log": None,
        # Or a stranger's zeros would keep us busy a thousand times as long as the network.
        "auto_decompress": False,
        "keepalive_timeout": KEEP_ALIVE_SECONDS,
        "logger": _RequestLog(),
    }
    if isinstance(served, web.Application):
        served.middlewares.insert(0, door.middleware)
        return web.AppRunner(served, shutdown_timeout=_SHUTDOWN_SECONDS, **options)
    server = web.Server(partial(door.middleware, handler=served), **options)
    return web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)


async def listen(
    stack: AsyncExitStack,
    served: web.Application | Answer,
    host: str,
    port: int,
    *,
    clock: Clock,
    most_connections: int,
) -> str:
    """Serve until the stack closes; the address, ``http://HOST:PORT``.

    An application has routes and middlewares, for which every request pays (a fifth of a webhook's HTTP).

    Raises:
        ListenError: the port cannot be opened.
    """
    door = Door(most_connections, clock)
    stack.callback(door.close)
    runner = _runner(served, door)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await _GuardedSite(runner, host, port, door).start()
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    address = runner.addresses[0]
    return f"http://{address[0]}:{address[1]}"
