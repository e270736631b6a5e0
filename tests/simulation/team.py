"""The people who run the campaigns, by commands that may die between any two of their units and are run again."""

import asyncio
import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import aiosqlite

from tests.simulation.host import Host
from tests.simulation.ledger import Campaign, Person
from tests.simulation.timeline import HOUR_SECONDS
from tests.simulation.weather import Weather, spread
from tests.simulation.world import World
from wamsg2 import phone
from wamsg2.campaigns import Campaigns
from wamsg2.model import MessageStatus, WamsgError
from wamsg2.store.database import Store
from wamsg2.store.writer import InlineWriter, StoreUnavailableError, Tx, Work
from wamsg2.work import campaigning, consent, settling
from wamsg2.work.campaigning import Row

T = TypeVar("T")

#: Nobody judges a message that may still be on its way.
_LONG_ENOUGH_SECONDS = 600.0
#: How often somebody who corrects a file looks at the campaign.
_LOOK_SECONDS = 120.0
_REMOVED = "SELECT 1 FROM campaigns WHERE name = ? AND closed_at IS NOT NULL"
_DOUBTS = """SELECT m.id, m.reference, c.phone, g.name
             FROM messages m JOIN contacts c ON c.id = m.contact_id JOIN campaigns g ON g.id = m.campaign_id
             WHERE m.status = 'uncertain' ORDER BY m.id"""


class _CutError(Exception):
    """The command's process was killed."""


class _CommandStore(Store):
    """The database as a command has it: time passes between its units, and it may be killed there."""

    def __init__(self, connection: sqlite3.Connection, random: Random, weather: Weather) -> None:
        super().__init__(Path("simulation"), InlineWriter(connection), cast("aiosqlite.Connection", None), None)
        self._random = random
        self._weather = weather

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work."""
        await asyncio.sleep(self._random.uniform(0.01, 0.5))
        if self._random.random() < self._weather.cut:
            raise _CutError
        return await super().write(work)


class _HandClock:
    """The clock of a machine on which people type commands."""

    def __init__(self, world: World) -> None:
        self._server = world.timeline.server
        self._ahead = timedelta(seconds=world.habits.hand_clock_seconds)

    def now(self) -> datetime:
        """The time of day, as that machine has it."""
        return self._server.now() + self._ahead

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._server.monotonic()


class Team:
    """What they do, campaign by campaign."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host
        self._random = world.chance("team")
        self._connection = host.database.keeper
        self._store = _CommandStore(self._connection, world.chance("commands"), world.weather)
        self._clock = _HandClock(world)
        self._campaigns = Campaigns(store=self._store, clock=self._clock, random=world.chance("keys"))
        self._is_over = False

    async def work(self) -> None:
        """All the campaigns, and whatever else is to be done; returns some time after the days are over."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._random.choice((2, 3, 3, 4))):
                tasks.create_task(self._run_campaign(number, self._world.chance(f"campaign {number}")))
            tasks.create_task(self._look_at_doubts(self._world.chance("doubts")))
            for person in self._world.ledger.people:
                if (random := self._world.chance(f"hand {person.index}")).random() < 0.03:
                    tasks.create_task(self._opt_out(person, random))

    # --- a campaign ---

    async def _run_campaign(self, number: int, random: Random) -> None:
        campaign = Campaign(f"c{number}", answers=random.random() < 0.85)
        self._world.ledger.campaigns[campaign.name] = campaign
        await self._until(self._starts_seconds(number, random))
        people = self._world.ledger.people
        members = random.sample(people, random.randint(len(people) // 3, len(people) * 4 // 5))
        if random.random() < 0.5:
            members.sort(key=lambda person: person.index)  # as in the file of somebody who keeps order
        joiners = members[: random.choice((0, 0, 3))]
        await self._begin(campaign, members[len(joiners) :], random)
        fate = random.random()
        if joiners:
            await asyncio.sleep(spread(random, 0.5, 20 * HOUR_SECONDS))
            await self._import(campaign, joiners, random)
        if fate < 0.5:
            await asyncio.sleep(spread(random, 5.0, 20 * HOUR_SECONDS))
            await (self._pause(campaign, random) if fate < 0.35 else self._cancel(campaign))
        if random.random() < 0.5:
            await self._import_again(campaign, members, random)

    async def _import_again(self, campaign: Campaign, members: Sequence[Person], random: Random) -> None:
        """A corrected file comes in days later, now and then just while the campaign is being removed."""
        while not self._is_over:
            wanted_seconds = self._world.timeline.seconds + spread(random, 0.5 * HOUR_SECONDS, 24 * HOUR_SECONDS)
            look_seconds = _LOOK_SECONDS if self._world.habits.kept else HOUR_SECONDS
            while self._world.timeline.seconds < wanted_seconds and not self._is_over:
                await asyncio.sleep(look_seconds)
                if self._rows(_REMOVED, campaign.name):
                    break
            await self._import(campaign, members, random)

    def _starts_seconds(self, number: int, random: Random) -> float:
        """The first at once, half of the others soon, so that they overlap."""
        if number == 0:
            return 0.0
        return random.choice((spread(random, 1.0, 7200.0), random.uniform(0.0, self._world.end_seconds * 0.7)))

    async def _begin(self, campaign: Campaign, members: Sequence[Person], random: Random) -> None:
        name = campaign.name
        message_1, message_2 = (f"{step} of {name}: {{{{name}}}}, {{{{code}}}}" for step in (1, 2))
        create = partial(self._campaigns.create, name, message_1, message_2 if campaign.answers else None)
        await self._insist("create", name, create)
        await self._import(campaign, members, random)
        await self._insist("launch", name, lambda: self._campaigns.launch(name))

    async def _import(self, campaign: Campaign, members: Sequence[Person], random: Random) -> None:
        # Some rows are there twice: a file that is corrected is imported again.
        for start in range(0, len(members), 10):
            await self._insist("import", campaign.name, partial(self._add, campaign, members[start : start + 10]))
        if random.random() < 0.3:
            await self._insist("import", campaign.name, partial(self._add, campaign, members[:10]))

    async def _add(self, campaign: Campaign, members: Sequence[Person]) -> None:
        rows = [
            Row(n, p.written, phone.key(p.written), {"name": p.name, "code": f"{campaign.name}-{p.index}"})
            for n, p in enumerate(members, start=2)
        ]

        def unit(tx: Tx) -> None:
            campaigning.add_rows(tx, campaign.name, rows, self._clock.now())
            for person in members:
                person.contact_since = person.contact_since or self._world.timeline.moment()

        await self._store.write(unit)

    async def _pause(self, campaign: Campaign, random: Random) -> None:
        name, starts_seconds = campaign.name, self._world.timeline.seconds
        await self._insist("pause", name, lambda: self._campaigns.pause(name))
        long = random.random() < 0.3  # so long that some replies are too old then
        seconds = random.uniform(20.0, 30.0) * HOUR_SECONDS if long else spread(random, 60.0, 20 * HOUR_SECONDS)
        ends_seconds = self._world.timeline.seconds + seconds
        await self._until(min(ends_seconds, self._world.end_seconds))
        await self._insist("resume", name, lambda: self._campaigns.resume(name))
        campaign.pauses.append((starts_seconds, self._world.timeline.seconds))

    async def _cancel(self, campaign: Campaign) -> None:
        campaign.cancelled, campaign.is_in_order = True, False
        await self._insist("cancel", campaign.name, lambda: self._campaigns.cancel(campaign.name))
        campaign.is_in_order = True

    async def _insist(self, what: str, name: str, command: Callable[[], Awaitable[object]]) -> None:
        """Run a command until it has come to its end, or says that it was done already."""
        while True:
            try:
                await command()
            except _CutError:
                self._world.trace.note("team", "cut", command=what, campaign=name)
                self._host.commanded()
                await asyncio.sleep(spread(self._random, 1.0, 600.0))
            except StoreUnavailableError:
                await asyncio.sleep(1.0)
            except WamsgError as error:
                self._world.trace.note("team", "refused", command=what, campaign=name, why=error)
                break
            else:
                self._world.trace.note("team", what, campaign=name)
                break
        self._host.commanded()

    async def _until(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds - self._world.timeline.seconds, 0.0))

    # --- single messages and contacts ---

    async def _look_at_doubts(self, random: Random) -> None:
        """Every now and then somebody looks at what look-ups do not settle, and says what is true."""
        # Where look-ups prove nothing, somebody always says.
        never_resent = not self._world.habits.policy.resend_after or math.isfinite(self._world.account.keeps_seconds)
        while not self._is_over:
            await asyncio.sleep(spread(random, HOUR_SECONDS, 6 * HOUR_SECONDS))
            for doubt in self._rows(_DOUBTS):
                if never_resent or random.random() < 0.3:
                    retry = random.random() < 0.8
                    await self._insist("resolve", doubt[1], partial(self._resolve, *doubt, retry=retry))

    async def _resolve(self, message_id: int, reference: str, number: str, campaign: str, *, retry: bool) -> None:
        ledger, timeline = self._world.ledger, self._world.timeline

        def unit(tx: Tx) -> None:
            attempts = ledger.attempts_of[reference]
            if attempts and timeline.seconds - attempts[-1].started.seconds < _LONG_ENOUGH_SECONDS:
                return
            if ledger.messages_of[reference]:
                word = MessageStatus.SENT
            else:
                word = MessageStatus.QUEUED if retry else MessageStatus.FAILED
            settling.resolve(tx, message_id, word, now=self._clock.now(), policy=self._world.habits.policy)
            self._world.trace.note("team", "says", reference=reference, word=word.value)
            if word is MessageStatus.QUEUED:
                ledger.retried[reference].append(timeline.moment())
            elif word is MessageStatus.FAILED:
                ledger.given_up.add((ledger.person(number).index, campaign))

        await self._store.write(unit)

    async def _opt_out(self, person: Person, random: Random) -> None:
        """Some tell the team instead of us; some of them, that they want messages again."""
        await self._until(random.uniform(0.0, self._world.end_seconds))
        await self._insist("opt-out", person.written, partial(self._opt_out_by_hand, person))
        while random.random() < 0.7:
            await asyncio.sleep(spread(random, 1.0, 6 * HOUR_SECONDS))
            await self._insist("opt-in", person.written, partial(self._opt_in_by_hand, person))
            if random.random() < 0.3:
                await asyncio.sleep(spread(random, 1.0, 6 * HOUR_SECONDS))
                await self._insist("opt-out", person.written, partial(self._opt_out_by_hand, person))

    async def _opt_out_by_hand(self, person: Person) -> None:
        def unit(tx: Tx) -> None:
            consent.opt_out_number(tx, person.written, phone.key(person.written), self._clock.now())
            moment = self._world.trace.note("team", "opts out", phone=person.written)
            person.contact_since = person.contact_since or moment
            self._world.ledger.opted_out_by_hand[person.index].append(moment)

        await self._store.write(unit)

    async def _opt_in_by_hand(self, person: Person) -> None:
        def unit(tx: Tx) -> None:
            consent.opt_in_number(tx, phone.key(person.written), self._clock.now())
            moment = self._world.trace.note("team", "opts in", phone=person.written)
            self._world.ledger.opted_in_by_hand[person.index].append(moment)

        await self._store.write(unit)

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a look at the database shows; nothing while somebody writes."""
        with suppress(sqlite3.OperationalError):
            return self._connection.execute(sql, parameters).fetchall()
        return []

    def finish(self) -> None:
        """The days are over: nobody looks any more, once everything is in order."""
        self._is_over = True
