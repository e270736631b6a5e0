"""SIGKILL at named points and at any moment, hundreds of times, while the provider misbehaves as well."""

import asyncio
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.site import Site, site
from wamsg2.sandbox import Delays, Faults, Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.events import parse_row

FAULTS = Faults(
    duplicate_event=0.2,
    reorder_event=0.3,
    reorder_window_seconds=0.2,
    event_before_answer=0.3,
    late_wa_id=0.3,
    accept_then_reset=0.1,
    reset_before_accept=0.05,
    slow_answer=0.2,
    slow_answer_seconds=0.3,
)
UNITS = ("claim", "settle", "receive_row", "settle_look_up", "next_doubt", "recover", "list_since")
#: A point that is not met so soon after the start is no point of this life: the daemon is killed where it stands.
_MOST_SECONDS = 2.0
_WENT_OUT = "SELECT count(*) FROM messages WHERE status IN ('sent', 'delivered', 'read')"
_OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')"
#: So many contacts are left for every kill, or the last ones would meet a daemon that has nothing to do.
_CONTACTS_A_KILL = 3


@dataclass
class Tally:
    """What the kills have done."""

    kills: int = 0
    at_points: int = 0
    messages: int = 0
    events: int = 0


async def kill_once(made: Site, random: Random, tally: Tally) -> None:
    """One life of a daemon: it ends at a point in the code, or at a moment of its start or of its work."""
    is_named = random.random() < 0.5
    if is_named:
        point = f"{random.choice(('before', 'after'))}:{random.choice(UNITS)}"
        daemon = await made.start(point, str(random.randint(1, 5)))
    else:
        daemon = await made.start(ready=False)
        if random.random() < 0.7:
            await made.wait_ready(daemon)
        await asyncio.sleep(random.uniform(0.0, 0.8))
        _kill(daemon)
    try:
        await asyncio.wait_for(daemon.wait(), _MOST_SECONDS)
    except TimeoutError:
        _kill(daemon)
    else:
        tally.at_points += is_named
    # 255: it ended by itself just as it was to be killed, and asyncio was not the first to hear of it.
    assert await daemon.wait() in {-signal.SIGKILL, 255}
    tally.kills += 1


def _kill(daemon: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it met its point just now
        daemon.kill()


async def hunt(directory: Path, seed: int, kills: int, tally: Tally) -> None:
    """A campaign that outlives so many daemons, and then must end as if nothing had been."""
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    random = Random(seed)
    phones = [f"+346{seed % 100:02d}{n:06d}" for n in range(kills * _CONTACTS_A_KILL)]
    settings = SandboxSettings(
        seed=seed,
        faults=FAULTS,
        habits=Habits(reply_rate=1.0, stop_rate=0.0, duplicate_reply_rate=0.2, reply_delay_seconds=(0.0, 1.0)),
        delays=Delays(delivered_seconds=(0.0, 0.3), read_seconds=(0.0, 0.5)),
        webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.5, disable_after=0),
    )
    times = {"wassenger__resend_after_seconds": "1", "wassenger__rate_limit_seconds": "0.05"}
    async with Sandbox(settings) as sandbox, site(directory, sandbox, **times) as made:
        await made.campaign("spring", phones)
        for _ in range(kills):
            await kill_once(made, random, tally)
        last = await made.start()
        await made.wait_for(_WENT_OUT, 2 * len(phones))
        await made.wait_for(_OPEN, 0)  # nobody but the daemon has settled anything
        await sandbox.settle(timeout_seconds=120)
        again = f"seed {seed}, {kills} kills"
        accepted = Counter((m.phone, m.priority) for m in sandbox.accepted)
        assert accepted == Counter({(p, priority): 1 for p in phones for priority in ("normal", "high")}), again
        acknowledged = {
            e.identity for d in sandbox.deliveries if d.is_acknowledged for e in parse_row(d.raw, device=None)
        }
        stored = {identity for (identity,) in await made.rows("SELECT identity FROM events")}
        assert acknowledged <= stored, again
        assert await made.violations() == [], again
        assert await made.stop(last) == 0
    tally.messages += len(accepted)
    tally.events += len(acknowledged)


async def hunts(directory: Path, seed: int, sites: int, kills: int) -> Tally:
    """Several hunts side by side: a daemon that starts, or waits for its token, leaves time for the others."""
    tally = Tally()
    async with asyncio.TaskGroup() as tasks:
        for n in range(sites):
            tasks.create_task(hunt(directory / str(n), seed + n, kills, tally))
    return tally


async def test_killed_at_any_moment(tmp_path: Path) -> None:
    tally = await hunts(tmp_path, seed=1, sites=2, kills=3)
    assert tally.kills == 6


@pytest.mark.soak
async def test_killed_five_hundred_times(tmp_path: Path) -> None:
    began = time.monotonic()
    tally = await hunts(tmp_path, seed=100, sites=5, kills=100)
    print(
        f"\n{tally.kills} kills ({tally.at_points} at named points): {tally.messages} messages, 0 accepted twice; "
        f"{tally.events} acknowledged events, 0 lost; 0 left for an operator; {time.monotonic() - began:.0f} s"
    )
    assert tally.kills == 500
