"""One process of the daemon: its own parts, put together as the daemon does, and an end that leaves nothing."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import aiosqlite

from tests.simulation.line import SECRET, WEBHOOK_PATH, Line
from tests.simulation.reader import Reader
from tests.simulation.wassenger import Wassenger
from tests.simulation.world import World
from tests.support import DEVICE
from wamsg2.arrivals import Arrivals
from wamsg2.bell import Bell
from wamsg2.catch_up import CatchUp
from wamsg2.clock import ForwardClock
from wamsg2.inbox import Inbox
from wamsg2.model import Event, EventResult, EventSource
from wamsg2.pacing import FailureRun
from wamsg2.provider_retention import ProviderRetention
from wamsg2.provider_watch import ProviderWatch
from wamsg2.reconciler import Reconciler
from wamsg2.retention import Retention
from wamsg2.sender import Sender
from wamsg2.store.database import Store
from wamsg2.store.writer import CommitHook, InlineWriter, StoreUnavailableError, Work
from wamsg2.wassenger.account import WassengerAccount
from wamsg2.wassenger.history import WassengerHistory
from wamsg2.watch import Watch
from wamsg2.work import settling

T = TypeVar("T")

#: With nothing to do, parts look again this seldom: rounds that find nothing would take most of a run's time.
_IDLE_SECONDS = 1800.0
#: What is too old goes so slowly that others work on it meanwhile.
_RETENTION_PAUSE_SECONDS = 60.0


class CrashError(BaseException):
    """The process ends here; no `except Exception` of its own may notice."""


class ProcessWriter(InlineWriter):
    """Commits as long as its process lives."""

    def __init__(self, connection: sqlite3.Connection, hook: CommitHook) -> None:
        super().__init__(connection, hook)
        self.is_dead = False

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Run and commit the unit now."""
        if self.is_dead:
            raise CrashError
        return super().submit(work)


class _Inbox(Inbox):
    """The daemon's, and the ledger hears of what it has on disk."""

    def __init__(self, world: World, **parts: Any) -> None:
        super().__init__(**parts)
        self._world = world
        self._taking: Sequence[Event] = ()

    async def take_row(self, row: Sequence[Event], source: EventSource) -> Sequence[EventResult]:
        """Take in a row of events."""
        self._taking = row
        try:
            results = await super().take_row(row, source)
            self.committed()
        finally:
            self._taking = ()
        return results

    def committed(self) -> None:
        """What is being taken in is on disk, even if nobody should be told any more."""
        for event in self._taking:
            self._world.ledger.took(event, self._world.timeline.moment())


class Daemon:
    """A process, from its start to its end.

    Args:
        world: of this run.
        wassenger: at the other end of its line.
        connection: to the database; it is closed with the process.
        reader: another connection to it, which only reads.
        disk: called before each commit, and after it; it may end the process there, or refuse to write.
        ended: called once when the process has ended, with how.
    """

    #: What commits; a planted bug puts another one here.
    writer = ProcessWriter

    def __init__(
        self,
        world: World,
        wassenger: Wassenger,
        connection: sqlite3.Connection,
        reader: Reader,
        *,
        disk: Callable[["Daemon", str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._world = world
        self.connection = connection
        self._disk = disk
        self._ended = ended
        self._changes = connection.total_changes
        self._wrote = False
        self._writer = self.writer(connection, self._at_commit)
        self._store = Store(Path("simulation"), self._writer, cast("aiosqlite.Connection", reader), None)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._doubts = Bell()
        self._commands = Bell()
        self._clock = ForwardClock(world.timeline.server)
        crash = partial(self.crash, "killed during a request")
        self.is_listening = False
        self._put_together(Line(world, wassenger, self._clock, doubted=self._doubts.ring, crash=crash))

    def _put_together(self, line: Line) -> None:
        world, store, clock = self._world, self._store, self._clock
        habits = world.habits
        gap_seconds = min(habits.rate_limit_seconds, 1.0)
        self._sender = Sender(
            store=store,
            client=line,
            clock=clock,
            random=world.chance("jitter"),
            policy=habits.policy,
            rate_limit_seconds=habits.rate_limit_seconds,
            most_in_flight=32,
            failures=FailureRun(10, 0.5),
        )
        device_changed = Bell()
        self._inbox = _Inbox(
            world,
            store=store,
            clock=clock,
            policy=habits.policy,
            signals=self._sender,
            device=DEVICE,
            device_changed=device_changed.ring,
        )
        account = WassengerAccount(line, WEBHOOK_PATH, [SECRET])
        retention = ProviderRetention(account=account, clock=clock)
        self._reconciler = Reconciler(
            store=store,
            client=line,
            clock=clock,
            policy=habits.policy,
            gap_seconds=gap_seconds,
            idle_seconds=_IDLE_SECONDS,
            retention=retention,
            signals=self._sender,
        )
        self._watch = Watch(store=store, clock=clock, signals=self._sender, alive=lambda: None)
        self._catch_up = CatchUp(
            store=store,
            history=WassengerHistory(line),
            inbox=self._inbox,
            clock=clock,
            policy=habits.policy,
            arrivals=Arrivals(clock),
            interval_seconds=habits.catch_up_seconds,
            gap_seconds=gap_seconds,
        )
        self._provider_watch = ProviderWatch(
            account=account,
            clock=clock,
            device_changed=device_changed,
            block=self._sender.block,
            catch_up=self._catch_up.ask,
            note_retention=retention.note,
            device_seconds=_IDLE_SECONDS,
            webhook_seconds=_IDLE_SECONDS,
        )

        self._retention = world.habits.kept and Retention(
            store=store,
            clock=clock,
            policy=habits.policy,
            kept=world.habits.kept,
            pause_seconds=_RETENTION_PAUSE_SECONDS,
        )

    # --- life ---

    def start(self) -> None:
        """Begin."""
        self._spawn(self._run(), "daemon")

    async def _run(self) -> None:
        world = self._world
        recover = partial(settling.recover, now=self._clock.now(), policy=world.habits.policy)
        try:
            doubts = await self._store.write(recover)
        except StoreUnavailableError as error:
            self._end(f"cannot start: {error}")
            return
        world.trace.note("host", "started", doubts=doubts)
        self.is_listening = True
        sending = self._spawn(self._sender.run(), "sender")
        self._spawn(self._reconcile(), "reconciler")
        self._spawn(self._watch_commands(), "watch")
        self._spawn(self._provider_watch.run(), "provider_watch")
        if world.habits.catch_up_seconds:
            self._spawn(self._catch_up.run(), "catch_up")
        if self._retention:
            self._spawn(self._retention.run(), "retention")
        await self._stop.wait()
        self._sender.stop()
        await asyncio.wait([sending])
        self._end("stopped")

    async def _reconcile(self) -> None:
        """As `Reconciler.run`, but woken by new doubts instead of looking for them every few seconds."""
        while True:
            await self._doubts.wait(await self._reconciler.step())

    async def _watch_commands(self) -> None:
        """As `Watch.run`, but woken by commands instead of looking for them every second."""
        while True:
            await self._watch.step()
            await self._commands.wait(_IDLE_SECONDS)

    def _spawn(self, part: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(part, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._part_ended)
        return task

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, CrashError):
            self._world.ledger.accidents.append(f"{task.get_name()} died of {error!r}")
            self._end(f"{task.get_name()} died")

    def stop(self) -> None:
        """Ask it to end when the requests under way are settled."""
        self._stop.set()

    def crash(self, how: str) -> None:
        """End it here and now: whatever is not committed never was."""
        self._end(how)

    def _end(self, how: str) -> None:
        if self._writer.is_dead:
            return
        self._writer.is_dead = True
        self.is_listening = False
        requests = sorted(self._sender._in_flight, key=asyncio.Task.get_name)
        for task in [*self._tasks, *requests]:
            task.cancel()
        asyncio.get_running_loop().call_soon(self.connection.close)  # the commit under way looks at it once more
        self._ended(how)

    # --- what reaches it ---

    async def post(self, body: bytes) -> int:
        """A webhook: its HTTP status, or 0 where the process is not there, or not any more."""
        if not self.is_listening:
            return 0
        try:
            await self._inbox.receive(body)
        except StoreUnavailableError:
            return 503
        except CrashError:
            return 0
        return 200

    def commanded(self) -> None:
        """Another process may have written."""
        self._commands.ring()

    def _at_commit(self, when: Literal["before", "after"], _works: Sequence[Work[Any]]) -> None:
        if when == "before":  # a commit of nothing is no place to crash at
            changes = self.connection.total_changes
            self._wrote, self._changes = changes != self._changes, changes
        elif self._wrote:
            self._inbox.committed()
        if self._wrote:
            self._disk(self, when)
