"""Everything that may come in at the webhook's door: repeated, reversed, late, forged, broken, and all at once."""

import asyncio
import json
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.benchmarks import load
from tests.process.daemon_log import logged, until
from tests.site import Site, site
from tests.support import ack, inbound, receipt
from wamsg2.clock import SystemClock
from wamsg2.sandbox import Faults, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.signature import sign

PHONES = ("+34600000001", "+34600000002")
SETTINGS = SandboxSettings(webhooks=WebhookRules(backoff_seconds=0.1))
EVENTS = "SELECT count(*) FROM events WHERE source = 'webhook'"
OUTCOMES = "SELECT outcome FROM interactions ORDER BY id"


async def post(
    url: str, body: bytes | dict[str, object], *, headers: dict[str, str] | None = None
) -> tuple[int, str | None]:
    """One webhook: the status of the answer, and the one that it holds."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with aiohttp.ClientSession() as session, session.post(url, data=BytesIO(raw), headers=headers) as response:
        answer = json.loads(await response.text())
        return response.status, answer.get("status")


@asynccontextmanager
async def sent_to(phones: Sequence[str], directory: Path, faults: Faults) -> AsyncIterator[tuple[Site, Sandbox]]:
    """A daemon whose Message 1 everybody has, and with these faults of the provider from the start."""
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox) as made:
        sandbox.faults = faults
        await made.campaign("spring", phones)
        daemon = await made.start()
        await until(lambda: len(sandbox.accepted) == len(phones))
        yield made, sandbox
        assert await made.stop(daemon) == 0
        assert await made.violations() == []


# --- repeated, reversed, late -------------------------------------------------------------------------------


async def test_the_same_event_five_times(tmp_path: Path) -> None:
    async with sent_to(PHONES[:1], tmp_path, Faults()) as (made, sandbox):
        await made.wait_for("SELECT status FROM messages WHERE step = 1", "read")
        body = inbound(PHONES[0], at=SystemClock().now(), wa_id="AC01")
        answers = await asyncio.gather(*(post(made.webhook_url, body) for _ in range(5)))
        assert Counter(answers) == {(200, "accepted"): 1, (200, "duplicate"): 4}
        await made.wait_for("SELECT status FROM messages WHERE step = 2", "read")
        assert [m.priority for m in sandbox.accepted] == ["normal", "high"]
        assert await made.rows(OUTCOMES) == [("message_2_queued",)]
        assert await made.rows("SELECT count(*) FROM events WHERE name = 'message:in:new'") == [(1,)]
        assert (await made.status())["webhooks"]["duplicates"] == 4


async def test_events_in_reverse_order(tmp_path: Path) -> None:
    """The reply, read, delivered, sent: all before anything says that Message 1 went out at all."""
    blind = Faults(accept_then_reset=1, lookup_error=1, drop_event=1)
    async with sent_to(PHONES[:1], tmp_path, blind) as (made, sandbox):
        await made.wait_for("SELECT status FROM messages", "uncertain")
        sandbox.faults = Faults()
        [sent] = sandbox.accepted
        now = SystemClock().now()
        reply = inbound(PHONES[0], at=now, wa_id="AC01")
        assert await post(made.webhook_url, reply) == (200, "accepted")
        assert await made.rows(OUTCOMES) == [("waiting_for_message_1",)]
        for status in ("read", "delivered"):
            report = ack(status, at=now, wa_id=sent.wa_id, number=PHONES[0])
            assert await post(made.webhook_url, report) == (200, "accepted")
        assert await made.rows("SELECT count(*) FROM messages WHERE step = 2") == [(0,)]
        report = receipt("sent", at=now, reference=sent.reference, queue_id=sent.id, wa_id=sent.wa_id)
        assert await post(made.webhook_url, report) == (200, "accepted")
        assert await made.rows("SELECT status, attempt FROM messages WHERE step = 1") == [("read", 1)]
        assert await made.rows(OUTCOMES) == [("message_2_queued",)]
        await made.wait_for("SELECT status FROM messages WHERE step = 2", "read")
        assert [m.priority for m in sandbox.accepted] == ["normal", "high"]


def hours_pass(made: Site, hours: float) -> None:
    """Everything that has happened to Message 1 was so much earlier."""
    with closing(sqlite3.connect(made.database, timeout=30)) as connection:
        connection.execute(
            """UPDATE messages SET sent_at = sent_at - ?1, attempted_at = attempted_at - ?1,
                      provider_sent_at = provider_sent_at - ?1, due_at = due_at - ?1""",
            (int(hours * 3600 * 1000),),
        )
        connection.commit()


async def test_replies_delivered_late_and_written_late(tmp_path: Path) -> None:
    """What counts is when it was written, not when it reached us."""
    async with sent_to(PHONES, tmp_path, Faults()) as (made, sandbox):
        await made.wait_for("SELECT count(*) FROM messages WHERE status = 'read'", 2)
        hours_pass(made, 25.5)
        now = SystemClock().now()
        await sandbox.inbound(PHONES[0], "delivered 23 hours late", at=now - timedelta(hours=23))
        await made.wait_for("SELECT count(*) FROM messages WHERE step = 2 AND status = 'read'", 1)
        await sandbox.inbound(PHONES[1], "written 25 hours after", at=now - timedelta(hours=0.5))
        await made.wait_for("SELECT count(*) FROM interactions", 2)
        await sandbox.settle()
        assert await made.rows(OUTCOMES) == [("message_2_queued",), ("no_recent_message_1",)]
        assert [m.phone for m in sandbox.accepted if m.priority == "high"] == [PHONES[0]]
        [late, _] = logged(made, "interaction.recorded")
        assert late["late_seconds"] == pytest.approx(23 * 3600, abs=120)


# --- forged and broken --------------------------------------------------------------------------------------


async def test_forged(tmp_path: Path) -> None:
    async with (
        Sandbox(SETTINGS) as sandbox,
        site(tmp_path, sandbox, webhook__signing_secrets='["signing-key"]') as made,
    ):
        daemon = await made.start()
        door = made.webhook_url.partition("?")[0]
        body = json.dumps(inbound(PHONES[0], at=SystemClock().now(), wa_id="AC01")).encode()
        header = "X-Wassenger-Signature"
        forged: list[tuple[str, dict[str, str]]] = [
            (door, {}),
            (door, {header: sign(body, "signing-key")}),
            (f"{door}?secret=guess", {}),
            (door, {"X-Webhook-Secret": "guess"}),
            (made.webhook_url, {header: sign(body, "guess")}),
            (made.webhook_url, {header: sign(b" " + body, "signing-key")}),
            (made.webhook_url, {header: "sha256="}),
        ]
        for url, headers in forged:
            assert await post(url, body, headers=headers) == (401, None), (url, headers)
        assert await made.rows(EVENTS) == [(0,)]
        assert (await made.status())["webhooks"]["refused"] == len(forged)
        assert len(logged(made, "webhook.refused", status=401, reason="wrong or missing secret")) == 4
        assert len(logged(made, "webhook.refused", status=401, reason="wrong or missing signature")) == 3
        signed = {header: sign(body, "signing-key")}
        assert await post(made.webhook_url, body, headers=signed) == (200, "accepted")
        assert await made.stop(daemon) == 0


async def test_secrets_rotate(tmp_path: Path) -> None:
    """Old and new, then new alone: no webhook is lost, and in the end the old secret opens nothing."""
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox) as made:
        door = made.webhook_url.partition("?")[0]
        config = made.config.read_text(encoding="utf-8")
        opens = {"s3cret": 200, "n3w": 401}
        for secrets, changed in (
            ('["s3cret"]', {}),
            ('["s3cret", "n3w"]', {"n3w": 200}),
            ('["n3w"]', {"s3cret": 401}),
        ):
            made.config.write_text(config.replace('["s3cret"]', secrets), encoding="utf-8")
            daemon = await made.start()
            opens |= changed
            for secret, status in opens.items():
                body = json.dumps({"event": "x", "secrets": secrets, "with": secret}).encode()
                assert (await post(f"{door}?secret={secret}", body))[0] == status, (secrets, secret)
            assert await made.stop(daemon) == 0
        assert await made.rows(EVENTS) == [(4,)]


async def test_broken_and_unknown_bodies(tmp_path: Path) -> None:
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox) as made:
        daemon = await made.start()
        shell = len(b'{"a": ""}')
        longest = b'{"a": "' + b"x" * (1024 * 1024 - shell) + b'"}'
        for body, answer in (
            (b'{"event": "message:in:new", "data": {"body": "\xff\xfe"}}', (400, None)),
            (b"7", (400, None)),
            (longest + b" ", (413, None)),
            (longest, (200, "ignored")),
            (b'{"event": "chat:update", "data": {}}', (200, "ignored")),
            (b'{"event": "message:out:delivered", "data": 7}', (200, "ignored")),
        ):
            assert await post(made.webhook_url, body) == answer, body[:80]
        assert await made.rows("SELECT name, result FROM events ORDER BY id") == [
            ("unknown", "ignored"),
            ("chat:update", "ignored"),
            ("message:out:delivered", "ignored"),
        ]
        assert len(logged(made, "webhook.refused", status=400)) == 2
        assert len(logged(made, "webhook.refused", status=413, reason="body over 1 MiB")) == 1
        assert (await made.status())["webhooks"]["refused"] == 3
        assert await made.stop(daemon) == 0


# --- all at once --------------------------------------------------------------------------------------------

#: So many requests may be under way in the daemon.
ADMITTED = 1000
MEMORY_MIB = 150


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """This process and its children may have so many connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"no more than {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Crowd:
    """Replies of as many people, and what each was answered."""

    port: int
    requests: list[bytes]
    accepted: set[int] = field(default_factory=set)
    postponed: int = 0  #: answers 503, each with a time to come again

    @classmethod
    def of(cls, made: Site, count: int) -> "Crowd":
        url = urlsplit(made.webhook_url)
        now = SystemClock().now()
        bodies = (inbound(f"+346{n:08d}", at=now, wa_id=f"AC{n:06}") for n in range(count))
        target = f"{url.path}?{url.query}"
        return cls(url.port or 0, [load.request(target, json.dumps(body).encode(), {}) for body in bodies])

    async def all_come(self, connections: int) -> None:
        """Whoever is not in yet, until they are, over so many connections."""
        left = iter([number for number in range(len(self.requests)) if number not in self.accepted])

        async def work() -> None:
            connection = Connection(self.port)
            for number in left:
                while number not in self.accepted:
                    await self.deliver(number, connection)
            connection.close()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(work())

    async def deliver(self, number: int, connection: "Connection") -> None:
        """Once; whoever is postponed has to come again."""
        status, head = await connection.post(self.requests[number])
        if status == 200:
            self.accepted.add(number)
        else:
            assert status == 503, head
            assert b"\r\nretry-after: 5\r\n" in head.lower()
            self.postponed += 1


class Connection:
    """To the daemon: kept alive as long as it keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, request: bytes) -> tuple[int, bytes]:
        """Status and head of the answer."""
        reader, writer = self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        if b"\r\nconnection: close\r\n" in head.lower():
            self.close()
        return int(head.split()[1]), head

    def close(self) -> None:
        """Hang up."""
        if self._streams:
            self._streams[1].close()
        self._streams = None


@asynccontextmanager
async def slow_daemon(made: Site, commit_seconds: float) -> AsyncIterator[tuple[Path, int]]:
    """A running daemon with slow commits: the file that stops them while it is there, and the process."""
    gate = made.directory / "gate"
    process = await made.run("tests.process.slow_daemon", str(made.config), str(commit_seconds), str(gate))
    yield gate, process.pid
    assert await made.stop(process) == 0


def peak_mib(pid: int) -> float:
    """The most memory that the process ever had."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


async def stored(made: Site) -> set[int]:
    rows = await made.rows("SELECT wa_id FROM interactions")
    assert await made.rows(EVENTS) == [(len(rows),)]
    return {int(wa_id.removeprefix("AC")) for (wa_id,) in rows}


async def test_three_thousand_at_once(tmp_path: Path) -> None:
    """The disk stands still: what fits in waits, the rest is sent away. Then it moves, slowly."""
    with many_files(8192):
        async with (
            Sandbox(SETTINGS) as sandbox,
            site(tmp_path, sandbox) as made,
            slow_daemon(made, 0.005) as (gate, pid),
        ):
            crowd = Crowd.of(made, 3000)
            connections = [Connection(crowd.port) for _ in crowd.requests]
            gate.touch()
            async with asyncio.TaskGroup() as tasks:
                for number, connection in enumerate(connections):
                    tasks.create_task(crowd.deliver(number, connection))
                await until(lambda: crowd.postponed == len(connections) - ADMITTED)
                assert crowd.accepted == set()
                gate.unlink()
            assert len(crowd.accepted) == ADMITTED
            assert await stored(made) == crowd.accepted
            assert len(logged(made, "webhook.postponed", reason="too many webhooks at once")) == crowd.postponed

            for connection in connections:
                connection.close()
            await crowd.all_come(connections=64)
            assert await stored(made) == crowd.accepted == set(range(len(connections)))
            assert peak_mib(pid) < MEMORY_MIB


@pytest.mark.soak
@pytest.mark.parametrize("connections", [64, 256])
async def test_twenty_thousand(tmp_path: Path, connections: int) -> None:
    """Every commit takes 5 ms more."""
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox) as made, slow_daemon(made, 0.005) as (_, pid):
        crowd = Crowd.of(made, 20_000)
        began = time.perf_counter()
        await crowd.all_come(connections)
        seconds = time.perf_counter() - began
        assert await stored(made) == crowd.accepted == set(range(len(crowd.requests)))
        peak = peak_mib(pid)
        print(
            f"\n{len(crowd.requests)} webhooks on {connections} connections, commits 5 ms slower: "
            f"{len(crowd.requests) / seconds:.0f}/s, {crowd.postponed} answered 503, peak {peak:.0f} MiB"
        )
        assert peak < MEMORY_MIB
