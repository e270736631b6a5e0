"""What many tests need: a clock that they move, a provider that they script, a database with a campaign in it."""

import asyncio
import json
import selectors
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import aiosqlite

from wamsg2 import phone, rules
from wamsg2.campaigns import Campaigns
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import Absent, Accepted, Claim, LookUp, Outcome, Policy, Start, Unknown
from wamsg2.pacing import FailureRun
from wamsg2.provider_retention import ProviderRetention
from wamsg2.sender import Sender
from wamsg2.store import bodies, verify
from wamsg2.store.database import Store
from wamsg2.store.schema import migrate
from wamsg2.store.writer import InlineWriter, Work, commit_batch
from wamsg2.wassenger.account import State
from wamsg2.wassenger.events import INBOUND_EVENTS
from wamsg2.work import campaigning, claiming, settling

T = TypeVar("T")

PAYLOADS = Path(__file__).parent / "payloads"
#: Our device in every payload file.
DEVICE = "68fd1067b488de07029f0001"
#: Where every manual clock starts.
START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


def payload(name: str) -> dict[str, Any]:
    """A captured (or reconstructed) JSON file, fresh to change."""
    loaded: dict[str, Any] = json.loads((PAYLOADS / name).read_text(encoding="utf-8"))
    return loaded


class ManualClock:
    """Time that moves when a test says so."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic_seconds = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic_seconds

    def advance(self, seconds: float) -> None:
        """Let both clocks run."""
        self._now += timedelta(seconds=seconds)
        self._monotonic_seconds += seconds

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the time of day."""
        self._now += timedelta(seconds=seconds)


class ScriptedClient:
    """A provider that answers as told: by default it accepts everything, and finds nothing."""

    def __init__(self) -> None:
        self.sent: list[Claim] = []
        self.outcomes: list[Outcome] = []
        self.look_ups: list[LookUp] = []
        self.asked: list[str] = []
        self.on_send: Callable[[Claim], Any] | None = None

    async def send(self, claim: Claim) -> Outcome:
        self.sent.append(claim)
        if self.on_send:
            result = self.on_send(claim)
            if hasattr(result, "__await__"):
                await result
        if self.outcomes:
            return self.outcomes.pop(0)
        n = len(self.sent)
        return Accepted(queue_id=f"{n:024x}", wa_id=f"3EB0{n:016X}")

    async def find(self, reference: str) -> LookUp:
        self.asked.append(reference)
        return self.look_ups.pop(0) if self.look_ups else Absent()


class KeepingAccount:
    """A provider whose device keeps messages as long as a test says; None: it does not answer."""

    def __init__(self, *kept: timedelta | None) -> None:
        self.kept = list(kept)  #: one for each look; the last one stands
        self.looks = 0

    async def device(self) -> State | Unknown:
        self.looks += 1
        kept = self.kept.pop(0) if len(self.kept) > 1 else self.kept[0]
        return Unknown("HTTP 503") if kept is None else State(ok=True, detail="online", retention=kept)

    async def webhook(self) -> State | Unknown:
        raise NotImplementedError

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        raise NotImplementedError


#: Long enough for any proof.
KEPT = timedelta(days=10)


def kept_for(clock: Clock, *kept: timedelta | None) -> ProviderRetention:
    """What a process knows whose provider keeps messages so long, the longest time by default."""
    return ProviderRetention(account=KeepingAccount(*kept or (KEPT,)), clock=clock)


class NoSignals:
    """Nobody is told, but a test can see who would have been."""

    def __init__(self) -> None:
        self.woken = 0
        self.withdrawn: list[int] = []

    def wake(self) -> None:
        self.woken += 1

    def withdraw(self, contact_id: int) -> None:
        self.withdrawn.append(contact_id)


class House:
    """A database on disk with an inline writer, and the services on a manual clock and a scripted provider."""

    def __init__(
        self,
        store: Store,
        *,
        policy: Policy,
        rate_limit_seconds: float = 1.0,
        failures: FailureRun | None = None,
    ) -> None:
        self.store = store
        self.policy = policy
        self.clock = ManualClock()
        self.client = ScriptedClient()
        self.signals = NoSignals()
        self.campaigns = Campaigns(store=store, clock=self.clock, random=Random(1))
        self.sender = Sender(
            store=store,
            client=self.client,
            clock=self.clock,
            random=Random(2),
            policy=policy,
            rate_limit_seconds=rate_limit_seconds,
            most_in_flight=16,
            failures=failures,
        )
        self.inbox = Inbox(store=store, clock=self.clock, policy=policy, signals=self.sender, device=DEVICE)
        self._last_start_seconds = self.clock.monotonic()

    async def campaign(
        self,
        *phones: str,
        name: str = "spring",
        message_1: str = "Hello",
        message_2: str | None = "More",
        launch: bool = True,
    ) -> None:
        """A campaign with these contacts (E.164), launched."""
        await self.campaigns.create(name, message_1, message_2)
        rows = [campaigning.Row(i, p, phone.key(p), {}) for i, p in enumerate(phones, start=2)]
        await self.store.write(lambda tx: campaigning.add_rows(tx, name, rows, self.clock.now()))
        if launch:
            await self.campaigns.launch(name)

    async def claim(self, most: int = 1, *, limit: timedelta | None = None) -> Sequence[Claim]:
        """Claim what is due now, by a sender that keeps this limit."""
        now = self.clock.now()
        claimed = await self.store.write(
            lambda tx: claiming.claim(tx, now=now, due_before=now, most=most, limit=limit)
        )
        return claimed.claims

    async def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Settle a claim whose request starts now."""
        now, seconds = self.clock.now(), self.clock.monotonic()
        start = Start(now, timedelta(seconds=seconds - self._last_start_seconds))
        self._last_start_seconds = seconds
        await self.store.write(
            lambda tx: settling.settle(tx, claim, outcome, start=start, now=now, policy=self.policy)
        )

    async def send_one(self, outcome: Outcome | None = None) -> Claim:
        """Claim the next message and settle it (accepted, unless told otherwise)."""
        (claim,) = await self.claim()
        n = claim.message_id
        await self.settle(claim, outcome or Accepted(queue_id=f"{n:024x}", wa_id=f"3EB0{n:016X}"))
        return claim

    async def receive(self, body: dict[str, Any]) -> str:
        """A webhook, now; its result."""
        return (await self.inbox.receive(json.dumps(body).encode())).value

    async def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Whatever a test wants to see."""
        return [tuple(row) for row in await self.store.reader.execute_fetchall(sql, parameters)]

    async def violations(self) -> list[verify.Violation]:
        """The promises that the database shows broken."""
        return await verify.violations(
            self.store.reader,
            window=self.policy.window,
            tolerance=rules.TOLERANCE,
            now=self.clock.now(),
            inbound_events=INBOUND_EVENTS,
        )

    async def bodies(self) -> list[bytes]:
        """The body of every raw event, in order of their ids."""
        rows = await self.rows("SELECT packing, body FROM events ORDER BY id")
        return [bodies.unpack(packing, stored) for packing, stored in rows]

    async def statuses(self) -> list[tuple[str, int, str]]:
        """(phone, step, status) of every message, in order of their ids."""
        return [
            (p, step, status)
            for p, step, status in await self.rows(
                """SELECT c.phone, m.step, m.status FROM messages m JOIN contacts c ON c.id = m.contact_id
                   ORDER BY m.id"""
            )
        ]

    async def outcomes(self) -> list[str]:
        """The outcome of every interaction, in order of their ids."""
        return [row[0] for row in await self.rows("SELECT outcome FROM interactions ORDER BY id")]


@asynccontextmanager
async def house(
    path: Path,
    *,
    policy: Policy | None = None,
    rate_limit_seconds: float = 1.0,
    failures: FailureRun | None = None,
) -> AsyncIterator[House]:
    """A `House` on a fresh database under `path` (a directory)."""
    file = path / "test.db"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(empty_database())
    async with await Store.open(path / "test.db") as store:
        yield House(store, policy=policy or Policy(), rate_limit_seconds=rate_limit_seconds, failures=failures)


def inbound(
    number: str, text: str = "yes", *, at: datetime, wa_id: str, quoted: str | None = None, **changes: Any
) -> dict[str, Any]:
    """A real inbound message (the captured file) from this number (E.164) with other words, time and id."""
    body = payload("message_in_new.text.json")
    data = body["data"]
    chat_id = f"{number.lstrip('+')}@c.us"
    body["id"] = data["id"] = wa_id
    body["created"] = data["timestamp"] = int(at.timestamp())
    data["date"] = at.isoformat()
    data["body"] = text
    data["from"], data["fromNumber"] = chat_id, number
    data["chat"] |= {"id": chat_id, "lid": f"9{number.lstrip('+')}@lid"}
    data["chat"]["contact"] |= {"wid": chat_id, "phone": number}
    if quoted:
        data["quoted"] = {"id": quoted}
    data.update(changes)
    return body


#: A process that has not done its part by then never will: a bound for broken runs, not a measure of speed.
PROCESS_SECONDS = 60.0


# --- what files hold -----------------------------------------------------------------------------------------


def readable(files: Iterable[Path]) -> bytes:
    """The bytes of these files, and of every raw event that is packed in them."""
    raw = b"".join(file.read_bytes() for file in files)
    return b"\n".join((raw, *bodies.remains_in(raw)))


# --- units of work without an event loop ---------------------------------------------------------------------


@cache
def empty_database() -> bytes:
    """The file of a database without a row. Thousands of tests begin with one, and making it costs more than most."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        return connection.serialize()


def memory() -> sqlite3.Connection:
    """A database in memory, as the writer wants it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(empty_database())
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection)  # which also gives SQL its functions
    return connection


def commit(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Run one unit of work as the writer does, and tell what it told."""
    settled = commit_batch(connection, [work])
    for callback in settled.after:
        callback()
    ((result, error),) = settled.results
    if error is not None:
        raise error
    value: T = result
    return value


# --- webhook bodies ------------------------------------------------------------------------------------------


def inbound_from_lid(lid: str, text: str = "yes", *, at: datetime, wa_id: str, **changes: Any) -> dict[str, Any]:
    """An inbound message that names its sender by an ``@lid`` and nothing else."""
    body = inbound("+34600000001", text, at=at, wa_id=wa_id, **changes)
    data = body["data"]
    data["from"] = lid
    data["fromNumber"] = None
    data["chat"] |= {"id": lid, "lid": lid}
    data["chat"]["contact"] |= {"wid": lid, "phone": None}
    return body


def receipt(
    status: str,
    *,
    at: datetime,
    reference: str | None = None,
    queue_id: str | None = None,
    wa_id: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """A report of the outbound queue on a message of ours: `sent` or `failed`."""
    body = payload(f"message_out_{status}.reconstructed.json")
    data = body["data"]
    body["created"] = int(at.timestamp())
    for key in ("id", "waId", "reference", "phone", "wid", "sentAt"):
        data.pop(key, None)
    known = {"id": queue_id, "waId": wa_id, "reference": reference, "failureReason": reason}
    data.update({key: value for key, value in known.items() if value is not None})
    if status == "sent":
        data["sentAt"] = at.isoformat()
    return body


def ack(status: str, *, at: datetime, wa_id: str, number: str, lid: str | None = None) -> dict[str, Any]:
    """A report of WhatsApp on a message of ours, by WhatsApp's id alone: `delivered` or `read`."""
    body = payload("message_out_ack.reconstructed.json")
    data = body["data"]
    chat_id = f"{number.lstrip('+')}@c.us"
    body["id"] = data["id"] = wa_id
    body["created"] = int(at.timestamp())
    data["ack"] = status
    data["to"], data["toNumber"] = chat_id, number
    data["chat"] |= {"id": chat_id, "lid": lid}
    data["chat"]["contact"] |= {"wid": chat_id, "phone": number}
    return body


# --- hours in no time ----------------------------------------------------------------------------------------


class _Leaping(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the time to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer is set: only another thread can go on
            if not (ready := super().select(PROCESS_SECONDS)):
                raise RuntimeError("everything waits, and nothing is left that could happen")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self.seconds += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only while everything waits, and then at once."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.seconds


class VirtualClock:
    """The time of a `VirtualLoop`, and a time of day that a test can step."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = START - timedelta(seconds=self._loop.time())

    def now(self) -> datetime:
        return self._offset + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the time of day."""
        self._offset += timedelta(seconds=seconds)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a `VirtualLoop`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Simulation:
    """Sender and inbox on a database in memory and virtual time; make it inside `run_virtually`.

    Another one on the same connection is the daemon after a restart.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        rate_limit_seconds: float = 1.0,
        most_in_flight: int = 64,
        policy: Policy | None = None,
        clock: VirtualClock | None = None,
        failures: FailureRun | None = None,
    ) -> None:
        self.connection = connection
        self.policy = policy or Policy()
        self.clock = clock or VirtualClock()
        # Nothing here reads through the reader, whose thread would know another time.
        self.store = Store(Path(":memory:"), InlineWriter(connection), cast("aiosqlite.Connection", None), None)
        self.client = ScriptedClient()
        self.requests: list[tuple[float, Claim]] = []  #: monotonic start of each request
        self.client.on_send = self._requested
        self.answer_seconds: Callable[[Claim], float] = lambda _: 0.0
        self.most_under_way = 0
        self._under_way = 0
        self.sender = Sender(
            store=self.store,
            client=self.client,
            clock=self.clock,
            random=Random(3),
            policy=self.policy,
            rate_limit_seconds=rate_limit_seconds,
            most_in_flight=most_in_flight,
            failures=failures,
        )
        self.inbox = Inbox(store=self.store, clock=self.clock, policy=self.policy, signals=self.sender, device=DEVICE)
        self.campaigns = Campaigns(store=self.store, clock=self.clock, random=Random(4))

    async def _requested(self, claim: Claim) -> None:
        self.requests.append((self.clock.monotonic(), claim))
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            await asyncio.sleep(self.answer_seconds(claim))
        finally:
            self._under_way -= 1

    @property
    def gaps(self) -> list[float]:
        """Seconds between the starts of each two requests."""
        return [b - a for (a, _), (b, _) in pairwise(self.requests)]

    async def campaign(self, name: str, count: int, *, first: int = 0, message_2: str | None = "More") -> None:
        """A launched campaign with so many contacts (+34600000000 and on)."""
        await self.campaigns.create(name, "Hello", message_2)
        phones = [f"+346{n:08d}" for n in range(first, first + count)]
        rows = [campaigning.Row(i, p, phone.key(p), {}) for i, p in enumerate(phones, start=2)]
        await self.store.write(lambda tx: campaigning.add_rows(tx, name, rows, self.clock.now()))
        await self.campaigns.launch(name)

    async def receive(self, body: dict[str, Any]) -> str:
        """A webhook, now; its result."""
        return (await self.inbox.receive(json.dumps(body).encode())).value

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Whatever a test wants to see."""
        return self.connection.execute(sql, parameters).fetchall()
