"""The webhooks' way to the daemon: at least once as a rule, in any order, at any time, and sometimes not at all."""

import asyncio
import re
from random import Random
from typing import Protocol

from tests.simulation.ledger import Report, Touch, Word
from tests.simulation.timeline import DAY_SECONDS, HOUR_SECONDS
from tests.simulation.weather import spread
from tests.simulation.world import World

News = Word | Report | Touch | None
_MOST_LATE_SECONDS = 26 * HOUR_SECONDS
_CREATED = re.compile(rb'"created":\d+')
_LONGEST_PAUSE_SECONDS = HOUR_SECONDS


class Door(Protocol):
    """Where webhooks are posted to."""

    async def post(self, body: bytes) -> int:
        """The HTTP status; 0 where nobody listens, or the connection breaks."""


class _Delivery:
    """One body on its way, until it is taken or too old."""

    __slots__ = ("body", "failures", "name", "news", "until_seconds")

    def __init__(self, name: str, body: bytes, news: News, until_seconds: float) -> None:
        self.name = name
        self.body = body
        self.news = news
        self.until_seconds = until_seconds
        self.failures = 0


class Courier:
    """Delivers webhooks, until so many failures in a row that the provider disables them."""

    def __init__(self, world: World, *, disable_after: int | None) -> None:
        self._world = world
        self._random: Random = world.chance("courier")
        self._disable_after = disable_after
        self._failures_in_a_row = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.door: Door | None = None
        self.is_enabled = True

    def enable(self) -> None:
        """Somebody has asked for webhooks again."""
        self._world.trace.note("courier", "enabled")
        self._failures_in_a_row = 0
        self.is_enabled = True

    def send(self, name: str, body: bytes, news: News = None) -> None:
        """Have an event delivered."""
        weather, random, timeline = self._world.weather, self._random, self._world.timeline
        if not self.is_enabled or random.random() < weather.lost_event:
            self._world.trace.note("courier", "lost", event=name, **_about(news))
            return
        copies = 1 + (random.randint(1, 4) if random.random() < weather.repeated else 0)
        for _ in range(copies):
            late = random.random() < weather.delayed
            delay_seconds = spread(random, 10.0, _MOST_LATE_SECONDS) if late else spread(random, 0.02, 5.0)
            until_seconds = timeline.seconds + delay_seconds + DAY_SECONDS
            told = _retold(body, random) if copies > 1 else body
            timeline.after(delay_seconds, self._start, _Delivery(name, told, news, until_seconds))

    def _start(self, delivery: _Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._try(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, delivery: _Delivery) -> None:
        if not self.is_enabled or self.door is None:
            return
        world = self._world
        status = await self.door.post(delivery.body)
        moment = world.trace.note("courier", str(status or "no answer"), event=delivery.name, **_about(delivery.news))
        if status == 200:
            self._failures_in_a_row = 0
            if delivery.news is not None:
                world.ledger.acknowledged.append((moment, delivery.news, delivery.body))
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


def _about(news: News) -> dict[str, str]:
    match news:
        case Word(wa_id, person):
            return {"phone": person.written, "id": wa_id}
        case Report(message, status):
            return {"phone": message.attempt.person.written, "id": message.wa_id, "status": status.value}
        case Touch(wa_id):
            return {"id": wa_id}
        case None:
            return {}
