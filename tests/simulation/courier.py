"""The webhooks' way to the daemon: at least once as a rule, in any order, at any time, and sometimes not at all."""

import asyncio
import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from tests.simulation.ledger import Blank, News, Report, Touch, Word
from tests.simulation.timeline import DAY_SECONDS, HOUR_SECONDS
from tests.simulation.weather import spread
from tests.simulation.world import World

_MOST_LATE_SECONDS = 26 * HOUR_SECONDS
_CREATED = re.compile(rb'"created":\d+')
_LONGEST_PAUSE_SECONDS = HOUR_SECONDS
#: Of a row of events; and how long the first of it waits for others.
_MOST_IN_A_ROW, _ROW_SECONDS = 25, 4.0


class Door(Protocol):
    """Where webhooks are posted to."""

    async def post(self, body: bytes) -> int:
        """The HTTP status; 0 where nobody listens, or the connection breaks."""


class _Event(NamedTuple):
    """One event: its JSON, and what it tells."""

    body: bytes
    news: News | None


class _Delivery:
    """One body on its way, until it is taken or too old."""

    __slots__ = ("body", "events", "failures", "name", "until_seconds")

    def __init__(self, name: str, body: bytes, events: Sequence[_Event], until_seconds: float) -> None:
        self.name = name
        self.body = body
        self.events = events
        self.until_seconds = until_seconds
        self.failures = 0


class Courier:
    """Delivers webhooks, until so many failures in a row that the provider gives up."""

    def __init__(self, world: World, *, disable_after: int | None) -> None:
        self._world = world
        self._random: Random = world.chance("courier")
        self._disable_after = disable_after
        self._failures_in_a_row = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows: dict[str, list[_Event]] = {}
        self.door: Door | None = None
        self.is_enabled = True

    def enable(self) -> None:
        """Somebody has asked for webhooks again."""
        self._world.trace.note("courier", "enabled")
        self._failures_in_a_row = 0
        self.is_enabled = True

    def send(self, name: str, body: bytes, news: News | None = None) -> None:
        """Have an event delivered."""
        self._send(name, [_Event(body, news)], body)

    def send_in_a_row(self, name: str, body: bytes, news: News) -> None:
        """Have an event delivered together with others of its name: as a JSON array, even if it is alone."""
        row = self._rows.setdefault(name, [])
        row.append(_Event(body, news))
        if len(row) == 1:
            self._world.timeline.after(self._random.uniform(0.0, _ROW_SECONDS), self._send_row, name)
        if len(row) == _MOST_IN_A_ROW:
            self._send_row(name)

    def _send_row(self, name: str) -> None:
        if row := self._rows.pop(name, []):
            self._send(name, row, b"[" + b",".join(event.body for event in row) + b"]")

    def _send(self, name: str, events: Sequence[_Event], body: bytes) -> None:
        weather, random, timeline = self._world.weather, self._random, self._world.timeline
        if not self.is_enabled or random.random() < weather.lost_event:
            for event in events:
                self._world.trace.note("courier", "lost", event=name, **_about(event.news))
            return
        copies = 1 + (random.randint(1, 4) if random.random() < weather.repeated else 0)
        for _ in range(copies):
            late = random.random() < weather.delayed
            delay_seconds = spread(random, 10.0, _MOST_LATE_SECONDS) if late else spread(random, 0.02, 5.0)
            until_seconds = timeline.seconds + delay_seconds + DAY_SECONDS
            told = _retold(body, random) if copies > 1 else body
            timeline.after(delay_seconds, self._start, _Delivery(name, told, events, until_seconds))

    def _start(self, delivery: _Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._try(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, delivery: _Delivery) -> None:
        if not self.is_enabled or self.door is None:
            return
        world = self._world
        status = await self.door.post(delivery.body)
        told = f"{delivery.name} x{len(delivery.events)}" if len(delivery.events) > 1 else delivery.name
        for event in delivery.events:
            moment = world.trace.note("courier", str(status or "no answer"), event=told, **_about(event.news))
            if status == 200 and event.news is not None:
                world.ledger.acknowledge(moment, event.news, event.body)
        if status == 200:
            self._failures_in_a_row = 0
            if self._random.random() >= world.weather.lost_200:
                return
        else:
            self._failures_in_a_row += 1
            if self._disable_after and self._failures_in_a_row >= self._disable_after:
                world.trace.note("courier", "disabled")
                self.is_enabled = False
        delivery.failures += 1
        pause_seconds = min(10.0 * 2.0 ** (delivery.failures - 1), _LONGEST_PAUSE_SECONDS)
        if world.timeline.seconds + pause_seconds < delivery.until_seconds:
            world.timeline.after(pause_seconds, self._start, delivery)


def _retold(body: bytes, random: Random) -> bytes:
    """The same news in an envelope of another time, at times."""
    return (
        _CREATED.sub(b'"created":%d' % random.randint(1, 2_000_000_000), body, 1) if random.random() < 0.3 else body
    )


def _about(news: News | None) -> dict[str, str]:
    match news:
        case Word(wa_id, person) | Blank(Word(wa_id, person)):
            return {"phone": person.written, "id": wa_id}
        case Report(message, status):
            return {"phone": message.attempt.person.written, "id": message.wa_id, "status": status.value}
        case Touch(wa_id):
            return {"id": wa_id}
        case None:
            return {}
