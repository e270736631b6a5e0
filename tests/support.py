"""What many tests need: a clock that they move, a provider that they script, a database with a campaign in it."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from wamsg2 import phone
from wamsg2.campaigns import Campaigns
from wamsg2.inbox import Inbox
from wamsg2.model import Absent, Accepted, Claim, LookUp, Outcome, Policy
from wamsg2.sender import Sender
from wamsg2.store.database import Store
from wamsg2.work import campaigning, claiming, settling

PAYLOADS = Path(__file__).parent / "payloads"
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

    def __init__(self, store: Store, *, policy: Policy, rate_limit_seconds: float = 1.0) -> None:
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
        )
        self.inbox = Inbox(store=store, clock=self.clock, policy=policy, signals=self.sender)

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

    async def claim(self, most: int = 1) -> Sequence[Claim]:
        """Claim what is due now."""
        now = self.clock.now()
        return (await self.store.write(lambda tx: claiming.claim(tx, now=now, due_before=now, most=most))).claims

    async def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Settle a claim whose request starts now."""
        now = self.clock.now()
        await self.store.write(
            lambda tx: settling.settle(tx, claim, outcome, started_at=now, now=now, policy=self.policy)
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
async def house(path: Path, *, policy: Policy | None = None, rate_limit_seconds: float = 1.0) -> AsyncIterator[House]:
    """A `House` on a fresh database under `path` (a directory)."""
    async with await Store.open(path / "test.db") as store:
        yield House(store, policy=policy or Policy(), rate_limit_seconds=rate_limit_seconds)


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
