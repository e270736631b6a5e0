"""One run: a seed, its days, and what became of the promises."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from tests.simulation.contacts import Contacts, population
from tests.simulation.courier import Courier
from tests.simulation.daemon import CrashError
from tests.simulation.evidence import Breach, Evidence
from tests.simulation.host import Host
from tests.simulation.promises import ALWAYS, IN_THE_END
from tests.simulation.replies import no_reply_is_lost
from tests.simulation.team import Team
from tests.simulation.timeline import DAY_SECONDS, HOUR_SECONDS
from tests.simulation.trace import Trace
from tests.simulation.wassenger import Wassenger
from tests.simulation.world import World
from tests.support import VirtualLoop
from wamsg2 import catch_up, retention, rules
from wamsg2.backup import back_up
from wamsg2.model import WamsgError
from wamsg2.work import campaigning

DAYS = 4
#: A launch is several units, as with thousands of contacts.
_CHUNK_ROWS = 7
#: Where the daemon removes what is over: days stand for weeks. Nothing comes later than raw events are kept.
_LIST_AT_MOST = timedelta(hours=30)
_LATEST_WEBHOOK_SECONDS = 27 * HOUR_SECONDS
#: Lists of one message a page stand for lists of thousands of pages.
_PAGES_A_ROUND = 5
_STORY_LINES = 40
_STILL_SECONDS, _MOST_LOOKS = 0.001, 200_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; `days` is how many were lived before something was found."""

    seed: int
    days: int
    of_days: int
    trace: Trace
    breach: Breach | None
    facts: Mapping[str, int]
    about: list[tuple[str, Any]]

    def story(self, bug: str | None = None) -> str:
        """What broke, how to see it again, and the lines that tell of it."""
        if self.breach is None:
            return f"seed {self.seed}: nothing broke in {self.days} days"
        command = f"python -m tests.simulation {self.seed} --days {self.of_days}{f' --bug {bug}' if bug else ''}"
        lines = self.trace.story(self.about, self.breach.at, _STORY_LINES)
        return "\n".join([f"{self.breach}, on day {self.days}", f"again: {command}", *lines])


def simulate(seed: int, days: int = DAYS) -> Outcome:
    """Live the days of a seed, then a day or two of calm in which everything must end, and take a backup."""
    with asyncio.Runner(loop_factory=_SimulatedLoop) as runner:
        return runner.run(_simulate(seed, days))


class _SimulatedLoop(VirtualLoop):
    """Notices when something is done over and over, and no time passes."""

    def __init__(self) -> None:
        self._mark_seconds = 0.0
        self._looks = 0
        super().__init__()

    def time(self) -> float:
        now_seconds = super().time()
        if now_seconds - self._mark_seconds > _STILL_SECONDS:
            self._mark_seconds, self._looks = now_seconds, 0
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            raise RuntimeError("time stands still")
        return now_seconds


async def _simulate(seed: int, days: int) -> Outcome:
    world = World.drawn(seed, days)
    with _quiet(world):
        run = _Run(world)
        try:
            return await run.live()
        finally:
            run.close()


@contextmanager
def _quiet(world: World) -> Iterator[None]:
    """The daemon's log goes to the trace; a callback that fails is an accident, unless its process was ended."""

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, CrashError):
            world.ledger.accidents.append(f"{context['message']}: {error!r}")

    asyncio.get_running_loop().set_exception_handler(note)
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[world.trace.log], cache_logger_on_first_use=False)
    try:
        with ExitStack() as stack:
            stack.enter_context(patch.object(campaigning, "CHUNK_ROWS", _CHUNK_ROWS))
            if world.account.most_a_page == 1:
                stack.enter_context(patch.object(catch_up, "_MOST_PAGES", _PAGES_A_ROUND))
            if world.habits.kept:
                stack.enter_context(patch.object(retention, "_UNIT_ROWS", _CHUNK_ROWS))
                stack.enter_context(patch.object(rules, "_LIST_AT_MOST", _LIST_AT_MOST))
            yield
    finally:
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)


class _Run:
    def __init__(self, world: World) -> None:
        self._world = world
        random = world.chance("population")
        world.ledger.people += population(random, random.randint(25, 60), world.days)
        # A provider that gives up is only let off where lost webhooks are asked for.
        gives_up = bool(world.habits.catch_up_seconds) and random.random() < 0.5
        courier = Courier(world, disable_after=random.randint(3, 20) if gives_up else None)
        self._wassenger = Wassenger(world, courier)
        self._contacts = Contacts(world, self._wassenger)
        self._host = Host(world, self._wassenger)
        self._team = Team(world, self._host)
        courier.door = self._host
        self._wassenger.delivered = self._contacts.received
        self._evidence = Evidence(world, self._host.database.keeper)

    async def live(self) -> Outcome:
        """All of it."""
        world = self._world
        self._host.start()
        self._contacts.live()
        work = asyncio.get_running_loop().create_task(self._team.work())
        for day in range(1, world.days + 1):
            await asyncio.sleep(day * DAY_SECONDS - world.timeline.seconds)
            if (breach := self._judge()) is not None:
                work.cancel()
                return self._outcome(day, breach)
        world.trace.note("host", "calm")
        world.weather.calm_down()
        await asyncio.sleep(_LATEST_WEBHOOK_SECONDS)
        self._team.finish()
        await work
        await self._until_windows_close()
        return self._outcome(world.days, self._judge(at_the_end=True) or self._back_up())

    async def _until_windows_close(self) -> None:
        """A Message 2 that comes of it opens none."""
        messages, timeline = self._world.ledger.messages, self._world.timeline
        if messages:
            last_seconds = max(
                messages[-1].accepted.seconds, *(m.processed_seconds for m in messages if m.processed_seconds), 0.0
            )
            await asyncio.sleep(max(last_seconds + 26 * HOUR_SECONDS - timeline.seconds, 0.0))

    def _judge(self, *, at_the_end: bool = False) -> Breach | None:
        judges = (*ALWAYS, *IN_THE_END, no_reply_is_lost) if at_the_end else ALWAYS
        return next((breach for judge in judges for breach in judge(self._evidence)), None)

    def _back_up(self) -> Breach | None:
        """A life ends with a backup of all that is left of it, which nothing may stand against."""
        with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as elsewhere:
            file = Path(directory) / "life.db"
            file.write_bytes(self._host.database.keeper.serialize())
            work = back_up(
                file,
                Path(directory),
                window=self._world.habits.policy.window,
                now=self._world.timeline.server.now(),
            )
            try:
                backup = elsewhere.submit(asyncio.run, work).result()  # by the real time: it has threads of its own
            except WamsgError as error:
                return Breach("backup", str(error))
        return next((Breach(v.promise, f"backup: {v.what}: {v.rows[0]}") for v in backup.violations), None)

    def _outcome(self, days: int, breach: Breach | None) -> Outcome:
        ledger = self._world.ledger
        facts = {
            "requests": len(ledger.attempts),
            "accepted": len(ledger.messages),
            "message_2": sum(m.attempt.step == 2 for m in ledger.messages),
            "words": len(ledger.words),
            "webhooks": len(ledger.acknowledged),
        }
        return Outcome(
            self._world.seed, days, self._world.days, self._world.trace, breach, facts, self._about(breach)
        )

    def _about(self, breach: Breach | None) -> list[tuple[str, Any]]:
        """By what the trace's lines name what the breach is about; the daemon's log has ids of its own."""
        if breach is None or breach.person is None:
            return breach.about if breach else []
        rows = self._evidence.rows(
            "SELECT m.id, c.id FROM contacts c LEFT JOIN messages m ON m.contact_id = c.id WHERE c.phone = ?",
            breach.person.written,
        )
        ids = [("message_id", message_id) for message_id, _ in rows] + [("contact_id", row[1]) for row in rows]
        references = [
            ("reference", ref)
            for (ref,) in self._evidence.rows(
                "SELECT reference FROM messages m JOIN contacts c ON c.id = m.contact_id WHERE c.phone = ?",
                breach.person.written,
            )
        ]
        return breach.about + ids + references

    def close(self) -> None:
        """The end."""
        self._host.close()
        asyncio.get_running_loop().call_soon(self._host.database.keeper.close)
