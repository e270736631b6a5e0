"""What a message takes on the disk: in its first days with its raw events, and as long as its campaign is kept."""

import json
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.benchmarks.figures import Figure, Report, at_most
from tests.support import House, ack, house, inbound, payload
from wamsg2.model import Accepted, Claim, Step
from wamsg2.retention import Kept, Retention
from wamsg2.store import bodies

CONTACTS = 2_000
REPLY_SHARE = 0.3
MESSAGE_1 = (
    "Hello {{name}}, the new season has begun, and there is something for you too. Would you like to see it? Say yes."
)
MESSAGE_2 = "Thank you, {{name}}! Here it is: https://example.com/season. STOP ends these messages."
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of each table of a database, with its indexes; free pages are left out."""

    tables: Counter[str]

    @classmethod
    def of(cls, path: Path) -> "Disk":
        """Needs SQLite's ``dbstat``."""
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                """SELECT coalesce(m.tbl_name, s.name), sum(s.pgsize)
                   FROM dbstat s LEFT JOIN sqlite_master m ON m.name = s.name GROUP BY 1"""
            ).fetchall()
        return cls(Counter(dict(rows)))


class Season:
    """A campaign with all that contacts and provider do, told by the real bodies with other ids, names and times."""

    def __init__(self, home: House) -> None:
        self._home = home
        self._random = Random(1)
        self.bodies: list[bytes] = []
        self.messages = 0

    async def run(self) -> None:
        """Everybody gets Message 1; it is sent, delivered and read; some reply, and get Message 2."""
        home = self._home
        await home.campaign(
            *(f"+52155{n:08d}" for n in range(CONTACTS)), message_1=MESSAGE_1, message_2=MESSAGE_2, launch=False
        )
        names = [(json.dumps({"name": self._name()}), n) for n in range(1, CONTACTS + 1)]
        await home.store.write(
            lambda tx: tx.executemany("UPDATE recipients SET variables = ? WHERE contact_id = ?", names)
        )
        await home.campaigns.launch("spring")
        while claims := await home.claim():
            await self._send(claims[0])
            if claims[0].step is Step.MESSAGE_1 and self._random.random() < REPLY_SHARE:
                wa_id = f"AC{self._hex(30)}"
                await self._receive(inbound(claims[0].phone, "yes please", at=home.clock.now(), wa_id=wa_id))
            home.clock.advance(3)
        assert self.messages > CONTACTS * (1 + REPLY_SHARE / 2)

    async def _send(self, claim: Claim) -> None:
        home, self.messages = self._home, self.messages + 1
        queue_id, wa_id = self._hex(24).lower(), f"3EB0{self._hex(16)}"
        await home.settle(claim, Accepted(queue_id, wa_id))
        sent: Any = payload("message_out_sent.array.json")
        data = sent[0]["data"]
        sent[0]["entityId"] = data["id"] = queue_id
        sent[0]["entityUrl"] = sent[0]["entityUrl"][:-24] + queue_id
        data |= {"phone": claim.phone, "message": claim.text, "reference": claim.reference}
        await self._receive(sent[:1])
        for status in ("delivered", "read"):
            report = ack(status, at=home.clock.now(), wa_id=wa_id, number=claim.phone)
            report["data"]["body"] = claim.text
            await self._receive(report)

    async def _receive(self, body: Any) -> None:
        """A webhook as the provider writes it, compact."""
        values = dict[str, str]()
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        raw = _TIME.sub(lambda found: values.setdefault(found[0], self._time(found[0])), raw)
        raw = raw.replace("Test Contact", self._name()).replace("183000000000001", str(self._random.getrandbits(49)))
        self.bodies.append(raw.encode())
        await self._home.inbox.receive(self.bodies[-1])

    def _time(self, shown: str) -> str:
        """Another time of the last weeks, as exact as the one that is shown."""
        at = self._home.clock.now() - timedelta(milliseconds=self._random.randrange(30 * 86_400_000))
        milliseconds = "000" if shown.endswith(".000Z") else f"{at.microsecond // 1000:03d}"
        return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds}Z"

    def _name(self) -> str:
        first = self._random.choice(("Ana", "Bruno", "Carmen", "Diego", "Esperanza"))
        return f"{first} {self._hex(6).title()}"

    def _hex(self, digits: int) -> str:
        return f"{self._random.getrandbits(4 * digits):0{digits}X}"


async def filled(path: Path) -> tuple[Season, Disk, Disk]:
    """A season on a database under this directory; its size at its end, and after the raw events went."""
    async with house(path) as home:
        writer: Any = home.store._writer
        writer._connection.execute("PRAGMA synchronous = OFF")  # how much is measured, not how fast
        season = Season(home)
        await season.run()
        during = Disk.of(home.store.path)
        home.clock.advance(9 * 86_400)
        kept = Kept(raw_events=timedelta(days=7))
        retention = Retention(store=home.store, clock=home.clock, policy=home.policy, kept=kept, pause_seconds=0)
        await retention.step()
        assert await home.rows("SELECT count(*) FROM events") == [(0,)]
        return season, during, Disk.of(home.store.path)


def seconds_of_packing(some: list[bytes]) -> float:
    """Of one body, on average; the best of a few rounds."""
    rounds = []
    for _ in range(5):
        begun = time.perf_counter()
        for body in some:
            bodies.pack(body)
        rounds.append(time.perf_counter() - begun)
    return min(rounds) / len(some)


@pytest.mark.benchmark
async def test_bytes_of_a_message(
    tmp_path_factory: pytest.TempPathFactory, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    season, during, after = await filled(tmp_path_factory.mktemp("packed"))
    monkeypatch.setattr(bodies, "pack", lambda body: (bodies.PLAIN, body))
    _, plain, _ = await filled(tmp_path_factory.mktemp("plain"))
    monkeypatch.undo()

    def add(key: str, what: str, disk: Disk, bar: int | None = None, baseline: Disk | None = None) -> None:
        each = disk.tables.total() / season.messages
        bare = baseline.tables.total() / season.messages if baseline else None
        limit = at_most(bar) if bar else None
        report.add(Figure(f"size.{key}", what, each, "bytes", bare, "bodies as they come", limit))
        tables = ", ".join(f"{name} {size / season.messages:.0f}" for name, size in disk.tables.most_common(8))
        print(f"    {tables}")

    share = len(season.bodies) / season.messages
    add("during", f"disk of a message with its {share:.2f} raw events", during, None, plain)
    add("after", "disk of a message once they are gone", after, 2000)
    packed = sum(len(bodies.pack(body)[1]) for body in season.bodies)
    came = sum(map(len, season.bodies))
    count = len(season.bodies)
    report.add(Figure("size.body", "a body, packed", packed / count, "bytes", came / count, "as it came"))
    took = seconds_of_packing(season.bodies[:1000]) * 1e6
    report.add(Figure("size.pack", "packing a body", took, "µs"))
