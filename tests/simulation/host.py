"""The machine: its disk, its clock, and the supervisor that starts the daemon again whenever it ends."""

import itertools
import sqlite3

from tests.simulation.daemon import CrashError, Daemon
from tests.simulation.reader import Reader
from tests.simulation.timeline import HOUR_SECONDS
from tests.simulation.wassenger import Wassenger
from tests.simulation.weather import Outages, moments, spread
from tests.simulation.world import World
from wamsg2.store.schema import migrate

_names = itertools.count()
#: What a time daemon corrects at once.
_TICK_SECONDS = 0.3


class Database:
    """A database in memory that several processes can open."""

    def __init__(self) -> None:
        self._uri = f"file:/simulation-{next(_names)}?vfs=memdb"
        self.keeper = self.open()  #: with the last connection the data would go
        migrate(self.keeper)

    def open(self) -> sqlite3.Connection:
        """Another connection."""
        connection = sqlite3.connect(
            self._uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


class Host:
    """Runs one daemon after the other."""

    def __init__(self, world: World, wassenger: Wassenger) -> None:
        self._world = world
        self._wassenger = wassenger
        self._random = world.chance("host")
        self._bad_disk = Outages.drawn(
            world.chance("disk"), days=world.days, a_day=1.5, shortest=0.5, longest=HOUR_SECONDS
        )
        self._disk_random = world.chance("commits")
        self._daemon: Daemon | None = None
        self.database = Database()

    def start(self) -> None:
        """Begin the days: the daemon, and what befalls it."""
        world = self._world
        self._start_daemon()
        for seconds in moments(world.chance("kills"), days=world.days, a_day=2.0):
            world.timeline.after(seconds, self._kill)
        for seconds in moments(world.chance("restarts"), days=world.days, a_day=0.7):
            world.timeline.after(seconds, self._restart)
        if (random := world.chance("clock")).random() < 0.4:
            for seconds in moments(random, days=world.days, a_day=0.7):
                world.timeline.after(seconds, self._step_clock, random.choice((-1.0, 1.0)) * spread(random, 1, 3600))
        if (random := world.chance("ticks")).random() < 0.6:
            for seconds in moments(random, days=world.days, a_day=12.0):  # a clock that is kept right, back and forth
                world.timeline.after(seconds, self._step_clock, -_TICK_SECONDS)
                world.timeline.after(seconds + spread(random, 0.5, 600.0), self._step_clock, _TICK_SECONDS)

    def _start_daemon(self) -> None:
        self._daemon = Daemon(
            self._world,
            self._wassenger,
            self.database.open(),
            Reader(self.database.keeper),
            disk=self._at_commit,
            ended=self._ended,
        )
        self._daemon.start()

    def _ended(self, how: str) -> None:
        self._daemon = None
        kind = self._random.random()
        if kind < 0.8:
            seconds = spread(self._random, 0.02, 5.0)
        elif kind < 0.95:
            seconds = spread(self._random, 5.0, 600.0)
        else:
            seconds = spread(self._random, 600.0, 6 * HOUR_SECONDS)
        self._world.trace.note("host", "ended", how=how, starts_in=f"{seconds:.2f} s")
        self._world.timeline.after(seconds, self._start_daemon)

    def _kill(self) -> None:
        if self._daemon:
            self._daemon.crash("killed")

    def _restart(self) -> None:
        if self._daemon:
            self._world.trace.note("host", "stopping")
            self._daemon.stop()

    def _step_clock(self, seconds: float) -> None:
        self._world.trace.note("host", "clock set", by=f"{seconds:+.1f} s")
        self._world.timeline.step_server(seconds)

    def _at_commit(self, daemon: Daemon, when: str) -> None:
        weather = self._world.weather
        likelihood = weather.crash_before if when == "before" else weather.crash_after
        if self._disk_random.random() < likelihood:
            daemon.crash(f"killed {when} a commit")
            raise CrashError
        is_bad = self._bad_disk.end(self._world.timeline.seconds) is not None
        if when == "before" and self._disk_random.random() < (0.7 if is_bad else weather.disk_error):
            self._world.trace.note("host", "disk error")
            raise sqlite3.OperationalError("disk I/O error")

    # --- what others see of it ---

    async def post(self, body: bytes) -> int:
        """A webhook; 0 where nobody listens."""
        return await self._daemon.post(body) if self._daemon else 0

    def commanded(self) -> None:
        """A command has written."""
        if self._daemon:
            self._daemon.commanded()

    def close(self) -> None:
        """The end of the run."""
        if self._daemon:
            self._daemon.crash("the run is over")
