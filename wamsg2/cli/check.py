"""`wamsg2 check`: is everything ready for going live?"""

import asyncio
import os
from dataclasses import dataclass

import click

from wamsg2.alerts import Kind
from wamsg2.app import account_of, client_of
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import ConfigError, Settings
from wamsg2.model import NotificationState, Unknown, WamsgError
from wamsg2.store import notifications
from wamsg2.wassenger.account import State

_MARKS = {True: "ok", False: "NO", None: "??"}

#: What only Wassenger can tell.
_ASKED = ("device", "webhook")
_ARRIVALS = frozenset({Kind.WEBHOOK_REFUSED, Kind.WEBHOOKS_LOST})


@dataclass(frozen=True, slots=True)
class _Finding:
    name: str
    ok: bool | None  #: None: nobody can tell, and nothing speaks against it
    detail: str


@click.command()
@common.json_option
@common.asynchronous
async def check(as_json: bool) -> int:  # noqa: FBT001 - click passes options by name
    """Check the configuration, the database, and at Wassenger the key, the device and the webhook."""
    settings = common.settings()
    findings = [await _serving(settings), *await _database(settings), *await _provider(settings)]
    ok = all(finding.ok is not False for finding in findings)
    if as_json:
        common.print_json({"ok": ok, "checks": [{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings]})
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.ok]:<3} {finding.name:<14} {finding.detail}")
    if not ok:
        failed = ", ".join(f.name for f in findings if f.ok is False)
        click.echo(f"wamsg2: not ready: {failed}", err=True)
        return 1
    return 0


async def _serving(settings: Settings) -> _Finding:
    try:
        settings.require_for_serving()
    except ConfigError as error:
        return _Finding("configuration", ok=False, detail="; ".join(error.problems))
    return _Finding("configuration", ok=True, detail="complete")


async def _database(settings: Settings) -> list[_Finding]:
    path = settings.database.path
    if not path.exists():
        can_be_made = os.access(path.parent, os.W_OK)
        detail = f"{path}: `wamsg2 serve` makes it" if can_be_made else f"{path}: cannot be made there"
        return [_Finding("database", can_be_made, detail)]
    try:
        async with common.open_store(settings) as store:
            told = await notifications.shown(store.reader, SystemClock().now())
    except WamsgError as error:
        return [_Finding("database", ok=False, detail=str(error))]
    # What the daemon has noted of the arrival of webhooks, and is not over.
    arrivals = [
        _Finding("arrivals", ok=False, detail=f"{each['detail']} (noted {common.local(each['raised_at'])})")
        for each in told
        if each["kind"] in _ARRIVALS and each["state"] == NotificationState.RAISED
    ]
    return [_Finding("database", ok=True, detail=str(path)), *arrivals]


async def _provider(settings: Settings) -> list[_Finding]:
    if not settings.wassenger.api_key:
        return [_Finding(name, ok=False, detail="not asked: there is no wassenger.api_key") for name in _ASKED]
    client = client_of(settings)
    account = account_of(settings, client)
    try:
        device, webhook = await asyncio.gather(account.device(), account.webhook())
    finally:
        await client.close()
    return [_finding(name, state) for name, state in zip(_ASKED, (device, webhook), strict=True)]


def _finding(name: str, state: State | Unknown) -> _Finding:
    match state:
        case State(ok=ok, detail=detail):
            return _Finding(name, ok, detail)
        case Unknown(reason):
            return _Finding(name, ok=False, detail=f"no answer: {reason}")
