"""Everything Wassenger may do to a request, one fault after the other: accepted once, settled by itself, and told."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from tests.process.daemon_log import logged, until
from tests.site import Site, site
from wamsg2.sandbox import Delays, Faults, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

PHONES = ("+34600000001", "+34600000002", "+34600000003")
SETTINGS = SandboxSettings(webhooks=WebhookRules(backoff_seconds=0.1))
WELL = "SELECT count(*) FROM messages WHERE status IN ('sent', 'delivered', 'read')"
#: Only what never answers needs a short timeout; the others must not meet one on a slow machine.
TIMES = {
    "wassenger__rate_limit_seconds": "0.02",
    "wassenger__timeout_seconds": "10",
    "wassenger__resend_after_seconds": "1",
}
IMPATIENT = TIMES | {"wassenger__timeout_seconds": "0.5"}
NO_ANSWER = "no answer in time"


def times(reason: str) -> dict[str, str]:
    return IMPATIENT if reason == NO_ANSWER else TIMES


async def everybody_got(made: Site, step: int) -> None:
    await made.wait_for(f"{WELL} AND step = {step}", len(PHONES))


async def everybody_replies(sandbox: Sandbox) -> None:
    for phone in PHONES:
        await sandbox.inbound(phone, "Yes")


async def ended_well(made: Site, sandbox: Sandbox) -> None:
    """Each message was accepted once, nothing is open, the database is sound, and nobody is called."""
    await made.wait_for("SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')", 0)
    requests = Counter((m.phone, m.priority) for m in sandbox.accepted if m.copy_of is None)
    assert requests == Counter({(p, priority): 1 for p in PHONES for priority in ("normal", "high")})
    assert await made.violations() == []
    status = await made.status()
    assert (status["status"], status["queue"]["uncertain"]) == ("ok", 0)


# --- not accepted -------------------------------------------------------------------------------------------

NOT_ACCEPTED = {
    "timeout": (Faults(timeout_before_accept=1), NO_ANSWER),
    "reset": (Faults(reset_before_accept=1), "connection lost"),
    "500": (Faults(server_error=1), "HTTP 500 server:error: internal server error"),
    "502": (Faults(bad_gateway=1), "HTTP 502"),
}


async def is_proved_absent_and_sent_again(directory: Path, row: tuple[Faults, str]) -> None:
    faults, reason = row
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **times(reason)) as made:
        sandbox.faults = replace(faults, faulty_attempts=1)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await everybody_got(made, 1)
        sandbox.faults = Faults()
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert len(logged(made, "message.doubted", step=1, attempt=1, status="uncertain", reason=reason)) == 3
        # More than one look-up said so before each of the three went out again.
        assert len(logged(made, "message.looked_up", answer="absent", status="uncertain")) >= 3
        assert len(logged(made, "message.looked_up", answer="absent", status="queued")) == 3
        assert await made.rows("SELECT step, min(attempt), max(attempt) FROM messages GROUP BY step") == [
            (1, 2, 2),
            (2, 1, 1),
        ]
        assert await made.stop(daemon) == 0


# --- accepted, but not told ---------------------------------------------------------------------------------

ACCEPTED = {
    "timeout": (Faults(accept_then_timeout=1), NO_ANSWER),
    "reset": (Faults(accept_then_reset=1), "connection lost"),
    "500": (Faults(accept_then_server_error=1), "HTTP 500 server:error: internal server error"),
    "502": (Faults(accept_then_bad_gateway=1), "HTTP 502"),
    "slow drip": (Faults(slow_drip=1), NO_ANSWER),
    "endless body": (Faults(endless_body=1), "the answer is too long"),
    "wrong JSON": (Faults(wrong_json=1), "HTTP 201 with an unreadable answer"),
    "unreadable JSON": (Faults(unreadable_answer=1), "HTTP 201 with an unreadable answer"),
    "two ids": (Faults(accept_twice=1, accept_then_reset=1), "connection lost"),
}


async def is_found_and_not_sent_again(directory: Path, row: tuple[Faults, str]) -> None:
    """Message 1 without any webhook, so that a look-up must find it; Message 2 with the provider's reports."""
    faults, reason = row
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **times(reason)) as made:
        sandbox.faults = replace(faults, drop_event=1)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await everybody_got(made, 1)
        assert len(logged(made, "message.doubted", step=1, attempt=1, status="uncertain", reason=reason)) == 3
        await until(lambda: len(logged(made, "message.looked_up", answer="accepted")) == 3)
        sandbox.faults = faults
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        # A report may be there before the answer is given up, and then there was no doubt.
        ended = ("message.doubted", "message.settled")
        await until(lambda: sum(len(logged(made, e, step=2, attempt=1, reason=reason)) for e in ended) == 3)
        await ended_well(made, sandbox)
        assert not logged(made, "message.sent")
        assert await made.rows("SELECT max(attempt) FROM messages") == [(1,)]
        if faults.accept_twice:
            assert len(sandbox.accepted) == 12
        assert await made.stop(daemon) == 0


async def is_doubled(directory: Path) -> None:
    """The provider's own duplication: nothing that we do makes it or heals it, and nothing comes on top of it."""
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **TIMES) as made:
        sandbox.faults = Faults(accept_twice=1)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await everybody_got(made, 1)
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await sandbox.settle()
        await ended_well(made, sandbox)
        assert len(sandbox.accepted) == 12
        assert len(logged(made, "message.sent", attempt=1)) == 6
        assert not logged(made, "message.doubted")
        assert await made.stop(daemon) == 0


# --- look-ups that do not help ------------------------------------------------------------------------------


async def lags(directory: Path) -> None:
    """Empty at first and filled later, inside the time over which absence must last."""
    unhurried = TIMES | {"wassenger__resend_after_seconds": "8"}
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **unhurried) as made:
        sandbox.faults = lagging = Faults(accept_then_reset=1, drop_event=1, lookup_lag_seconds=3600)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await until(lambda: logged(made, "message.looked_up", answer="absent"))
        sandbox.faults = replace(lagging, lookup_lag_seconds=0)
        await everybody_got(made, 1)
        assert len(logged(made, "message.looked_up", answer="accepted")) == 3
        sandbox.faults = Faults()
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert await made.stop(daemon) == 0


LOOK_UPS_FAIL = {
    "accepted": (Faults(accept_then_reset=1), "accepted"),
    "not accepted": (Faults(reset_before_accept=1), "absent"),
}


async def fails(directory: Path, row: tuple[Faults, str]) -> None:
    """No answer proves nothing, however often it comes; the first one that comes after it does."""
    faults, answer = row
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **TIMES) as made:
        sandbox.faults = replace(faults, faulty_attempts=1, drop_event=1, lookup_error=1)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        # The last of them is later than resend_after_seconds.
        await until(lambda: len(logged(made, "message.looked_up", answer="unknown", status="uncertain")) >= 9)
        assert await made.rows("SELECT status, max(attempt), count(*) FROM messages GROUP BY status") == [
            ("uncertain", 1, 3)
        ]
        assert (await made.status())["queue"]["uncertain"] == 3
        sandbox.faults = Faults()
        await everybody_got(made, 1)
        assert len(logged(made, "message.looked_up", answer=answer)) >= 3
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert await made.stop(daemon) == 0


# --- sending is held ----------------------------------------------------------------------------------------

#: The answer is there before the next message is claimed.
UNHURRIED = TIMES | {"wassenger__rate_limit_seconds": "0.2"}
REFUSED = {
    "401": (Faults(unauthorized=1), "HTTP 401 auth:invalid: invalid API key"),
    "402": (Faults(payment_required=1), "HTTP 402 billing:required: no active plan or quota exceeded"),
    "403": (Faults(forbidden=1), "HTTP 403 auth:forbidden: the API key has no scope for this"),
    "429": (Faults(too_many_requests=1), "HTTP 429 rate:limit: too many requests"),
}


async def is_held(made: Site, reason: str) -> None:
    """What the operator is told."""
    await until(lambda: logged(made, "message.deferred", step=1, attempt=1, status="queued", reason=reason))
    assert logged(made, "sending.held", reason=reason)
    status = await made.status()
    assert status["status"] == "degraded"
    assert (status["sender"]["state"], status["sender"]["reason"]) == ("held", reason)


async def holds_and_keeps_its_place(directory: Path, row: tuple[Faults, str]) -> None:
    """It tries again after a minute, too long for a test; a restart tries at once."""
    faults, reason = row
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **UNHURRIED) as made:
        sandbox.faults = faults
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await is_held(made, reason)
        held = logged(made, "sending.held", reason=reason)
        assert all(60 <= line["next_try_seconds"] <= 600 for line in held)
        assert await made.stop(daemon) == 0
        assert await made.rows("SELECT status, max(attempt) FROM messages GROUP BY status") == [("queued", 1)]
        assert sandbox.accepted == []
        if faults.too_many_requests:
            a_minute_passes(made)

        sandbox.faults = Faults()
        daemon = await made.start()
        await everybody_got(made, 1)
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert await made.stop(daemon) == 0


def a_minute_passes(made: Site) -> None:
    """A rate limit outlasts a restart: its messages are due a minute later."""
    with closing(sqlite3.connect(made.database)) as connection:
        connection.execute("UPDATE messages SET due_at = due_at - 60000")
        connection.commit()


async def waits_as_told(directory: Path) -> None:
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **UNHURRIED) as made:
        sandbox.faults = Faults(too_many_requests=1, retry_after_seconds=4, faulty_attempts=1)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await is_held(made, REFUSED["429"][1])
        assert logged(made, "sending.held")[0]["next_try_seconds"] == 4
        sandbox.faults = Faults()
        await everybody_got(made, 1)
        assert logged(made, "sending.resumed")
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert await made.stop(daemon) == 0


async def goes_offline(directory: Path) -> None:
    """Told by a webhook, it holds the queue at once; what was accepted meanwhile goes out when it is back."""
    settings = replace(SETTINGS, delays=Delays(sent_seconds=(0.1, 0.1)))
    async with Sandbox(settings) as sandbox, site(directory, sandbox, **TIMES) as made:
        daemon = await made.start()
        await until(lambda: logged(made, "daemon.started"))
        sandbox.set_device(online=False)
        reason = "device: operative, session offline"
        await until(lambda: logged(made, "sending.held", reason=reason))
        assert logged(made, "device.lost", detail="operative, session offline")
        status = await made.status()
        assert (status["status"], status["sender"]["state"]) == ("degraded", "held")
        assert status["sender"]["reason"] == reason
        await made.campaign("spring", PHONES)
        assert sandbox.accepted == []
        sandbox.set_device(online=True)
        await everybody_got(made, 1)
        assert logged(made, "device.back")
        await everybody_replies(sandbox)
        await everybody_got(made, 2)
        await ended_well(made, sandbox)
        assert await made.stop(daemon) == 0


# --- all of them --------------------------------------------------------------------------------------------

ROWS: Mapping[str, Callable[[Path], Awaitable[None]]] = {
    # The longest first, so that none of them starts late.
    **{f"{name}, look-ups fail": partial(fails, row=row) for name, row in LOOK_UPS_FAIL.items()},
    "accepted, look-up empty at first": lags,
    **{
        f"{name}, not accepted": partial(is_proved_absent_and_sent_again, row=row)
        for name, row in NOT_ACCEPTED.items()
    },
    **{f"{name}, accepted": partial(is_found_and_not_sent_again, row=row) for name, row in ACCEPTED.items()},
    **{name: partial(holds_and_keeps_its_place, row=row) for name, row in REFUSED.items()},
    "429 with Retry-After": waits_as_told,
    "two ids for one reference": is_doubled,
    "device offline": goes_offline,
}
#: Daemons at once: they mostly wait, but all of them start.
AT_ONCE = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, asyncio.Task[None]]]:
    """The rows that are asked for, side by side, each on a site of its own."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(name: str) -> None:
        async with gate:
            await ROWS[name](tmp_path_factory.mktemp("site"))

    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    asked_for = {item.callspec.params["name"] for item in items if item.module is request.module}
    tasks = {name: asyncio.create_task(run(name)) for name in ROWS if name in asked_for}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ROWS)
async def test_fault(runs: Mapping[str, asyncio.Task[None]], name: str) -> None:
    await runs[name]
