"""The demonstration: sandbox and daemon in one process, a small cast, and a judgement on every promise."""

import asyncio
import csv
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import SystemRandom
from typing import Any

from wamsg2 import app, config, phone, rules, status
from wamsg2.campaigns import Campaigns
from wamsg2.clock import SystemClock
from wamsg2.model import Policy, WamsgError
from wamsg2.sandbox import SILENT, Behaviour, Delays, Faults, Reply, SandboxSettings
from wamsg2.sandbox.server import Sandbox
from wamsg2.sandbox.wire import Json
from wamsg2.store import people, stats, verify
from wamsg2.store.database import Store
from wamsg2.wassenger import events

CAMPAIGN = "demo"
MESSAGE_1 = "Hi {{name}}, shall we send you the programme?"
MESSAGE_2 = "Here it is, {{name}}: …"
RATE_LIMIT_SECONDS = 0.5
WINDOW_SECONDS = 15.0
DELAY_SECONDS = 2.0
_LOOK_SECONDS = 0.25
_MOST_SECONDS = 55.0
#: Starts are paced exactly; what the sandbox sees of them is later by a connection each.
_GAP_TOLERANCE_SECONDS = 0.1

#: Every event comes twice, some out of order, some before the answer; some answers are lost.
FAULTS = Faults(
    duplicate_event=1.0,
    reorder_event=0.3,
    reorder_window_seconds=0.4,
    event_before_answer=0.3,
    accept_then_reset=0.2,
    late_wa_id=0.3,
)


@dataclass(frozen=True, slots=True)
class Person:
    """One of the cast."""

    name: str
    phone: str
    does: str
    behaviour: Behaviour = SILENT
    qualifies: bool = False  #: for Message 2


CAST = (
    Person("Ana", "+34600000001", "replies", Behaviour((Reply("Yes please!", 0.5),)), qualifies=True),
    Person("Bruno", "+5531987654321", "replies too late", Behaviour((Reply("Now?", WINDOW_SECONDS + 2),))),
    Person("Chloé", "+33612345678", "replies twice", Behaviour((Reply("Oui", 1), Reply("Merci", 3))), qualifies=True),
    Person("Dora", "+34600000004", "writes STOP", Behaviour((Reply("Stop.", 2),))),
    Person("Emil", "+34600000005", "stays silent"),
    Person("Fran", "+5215512345678", "replies", Behaviour((Reply("Sí", 2),)), qualifies=True),
    Person("Gül", "+34600000007", "only reacts 👍", Behaviour((Reply("👍", 2, is_reaction=True),))),
    Person("Hugo", "+34600000008", "stays silent"),
    Person(
        "Iris", "+34600000009", "quotes Message 1", Behaviour((Reply("This one", 4, quotes=True),)), qualifies=True
    ),
    Person("Jon", "+34600000010", "replies, then STOP", Behaviour((Reply("Ok", 1), Reply("STOP", 1.5)))),
    Person("Kim", "+34600000011", "stays silent"),
    Person("Lea", "+34600000012", "stays silent"),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of things at one moment."""

    elapsed_seconds: float
    campaign: dict[str, Any]
    people: dict[str, dict[str, Any]]  #: by name: what is stored of them, as `people.by_phone_key` gives it


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, held or not, and what shows it."""

    promise: str
    held: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How the demonstration went."""

    progress: Progress
    verdicts: Sequence[Verdict]
    running: app.Running

    @property
    def held(self) -> bool:
        """Whether every promise did."""
        return all(verdict.held for verdict in self.verdicts)


def settings_for(directory: Path, base_url: str, api_key: str, device: str) -> config.Settings:
    """The daemon's configuration: ports of the system's choice, a database that goes with the directory."""
    return config.load(
        environ={"WAMSG2_CONFIG": str(_empty_file(directory))},
        overrides={
            "wassenger.api_key": api_key,
            "wassenger.device": device,
            "wassenger.base_url": base_url,
            "wassenger.rate_limit_seconds": RATE_LIMIT_SECONDS,
            "message_2.delay_seconds": DELAY_SECONDS,
            "message_2.reply_window_hours": WINDOW_SECONDS / 3600,
            "webhook.host": "127.0.0.1",
            "webhook.port": 0,
            "webhook.secrets": [SystemRandom().randbytes(16).hex()],
            "admin.port": 0,
            "database.path": directory / "demo.db",
        },
    )


def _empty_file(directory: Path) -> Path:
    """A file without settings, so that none that lies around is read."""
    path = directory / "demo.toml"
    path.touch()
    return path


@asynccontextmanager
async def _daemon(settings: config.Settings) -> AsyncIterator[app.Running]:
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(app.run(settings, stop, started=started.set_result))
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield started.result()
    finally:
        stop.set()
        await task


@asynccontextmanager
async def perform(directory: Path, show: Callable[[Progress], None]) -> AsyncIterator[Ended]:
    """Run the whole campaign; inside the context sandbox and daemon still run.

    Args:
        directory: for the database; empty.
        show: is given the progress a few times a second.

    Raises:
        WamsgError: it did not end in time, or could not start.
    """
    cast = {phone.key(person.phone): person for person in CAST}
    sandbox_settings = SandboxSettings(
        seed=7,
        faults=FAULTS,
        delays=Delays(sent_seconds=(0.05, 0.3), delivered_seconds=(0.1, 0.4), read_seconds=(0.2, 1.0)),
        script=lambda number: cast[phone.key(number)].behaviour,
    )
    async with Sandbox(sandbox_settings) as sandbox:
        settings = settings_for(directory, sandbox.base_url, sandbox_settings.api_key, sandbox_settings.device_id)
        async with _daemon(settings) as running, await Store.open(settings.database.path) as store:
            secret = settings.webhook.secrets[0].get_secret_value()
            sandbox.register_webhook(f"{running.webhook_url}?secret={secret}")
            await _launch(store, directory)
            progress = await _watch(store, settings.policy(), show)
            await sandbox.settle()
            yield Ended(progress, await _judge(sandbox, store, progress), running)


async def _launch(store: Store, directory: Path) -> None:
    contacts = directory / "contacts.csv"
    with contacts.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("phone", "name"), *((p.phone, p.name) for p in CAST)])
    campaigns = Campaigns(store=store, clock=SystemClock(), random=SystemRandom())
    await campaigns.create(CAMPAIGN, MESSAGE_1, MESSAGE_2)
    await campaigns.import_contacts(CAMPAIGN, contacts)
    await campaigns.launch(CAMPAIGN)


async def _watch(store: Store, policy: Policy, show: Callable[[Progress], None]) -> Progress:
    clock = SystemClock()
    began = clock.monotonic()
    while (elapsed := clock.monotonic() - began) < _MOST_SECONDS:
        (campaign,) = await stats.campaigns(store.reader, CAMPAIGN)
        figures = status.campaign_json(campaign, now=clock.now(), policy=policy)
        found = {p.name: await people.by_phone_key(store.reader, phone.key(p.phone)) or {} for p in CAST}
        progress = Progress(elapsed, figures, found)
        show(progress)
        if figures["status"] == "completed" and elapsed > WINDOW_SECONDS + 4:
            return progress
        await asyncio.sleep(_LOOK_SECONDS)
    raise WamsgError(f"the campaign did not end within {_MOST_SECONDS:.0f} s")


async def _judge(sandbox: Sandbox, store: Store, progress: Progress) -> list[Verdict]:
    """Hold what the sandbox accepted against what should have been sent, and the database against itself."""
    accepted = Counter((phone.key(m.phone), m.priority) for m in sandbox.accepted)
    first = [accepted[phone.key(p.phone), "normal"] for p in CAST]
    twos = {p.name: accepted[phone.key(p.phone), "high"] for p in CAST}
    wanted = {p.name: int(p.qualifies) for p in CAST}
    stopped = [p for p in CAST if any(r.text.upper().startswith("STOP") for r in p.behaviour.replies)]
    gaps = [b.monotonic_seconds - a.monotonic_seconds for a, b in pairwise(sandbox.accepted)]
    acknowledged = {
        _message_id(element)
        for delivery in sandbox.deliveries
        if delivery.event.name == "message:in:new" and delivery.is_acknowledged
        for element in delivery.event.elements
    }
    stored = await stats.interaction_ids(store.reader)
    broken = await verify.violations(
        store.reader,
        window=timedelta(seconds=WINDOW_SECONDS),
        tolerance=rules.TOLERANCE,
        now=SystemClock().now(),
        inbound_events=events.INBOUND_EVENTS,
    )
    return [
        Verdict("P1 once only", first == [1] * len(CAST) and max(twos.values()) <= 1, f"{len(first)} Message 1"),
        Verdict("P2 only to replies in time", twos == wanted, f"{sum(twos.values())} Message 2"),
        Verdict("P3 nothing after STOP", not any(twos[p.name] for p in stopped), f"{len(stopped)} wrote STOP"),
        Verdict(
            "P4 never faster than the limit",
            min(gaps) >= RATE_LIMIT_SECONDS - _GAP_TOLERANCE_SECONDS,
            f"closest two sends {min(gaps):.2f} s apart",
        ),
        Verdict("P5 acknowledged is stored", acknowledged <= stored, f"{len(sandbox.deliveries)} webhooks delivered"),
        Verdict("P6 the campaign ends", progress.campaign["status"] == "completed", "completed"),
        Verdict("database verified", not broken, ", ".join(v.what for v in broken) or "every row accounted for"),
    ]


def _message_id(event: Json) -> object:
    data = event["data"]
    return data["id"] if isinstance(data, dict) else None
