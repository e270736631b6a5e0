"""`wamsg2 verify`: does a database keep the promises?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from wamsg2 import rules
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.store import verify as checks
from wamsg2.store.database import Reader, open_file
from wamsg2.wassenger.events import INBOUND_EVENTS


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@common.json_option
@common.asynchronous
async def verify(file: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click passes options by name
    """Recount everything from the rows and list every broken promise; exit 1 on any.

    Without FILE it is the live database. FILE is a copy of one, a backup: it is read, and nothing in it or beside it
    changes.
    """
    settings = common.settings()
    async with _reader(settings, file) as reader:
        found = await checks.violations(
            reader,
            window=settings.policy().window,
            tolerance=rules.TOLERANCE,
            now=SystemClock().now(),
            inbound_events=INBOUND_EVENTS,
        )
        totals = await checks.totals(reader)
    if as_json:
        common.print_json(
            {
                "ok": not found,
                "messages": dict(totals),
                "violations": common.violations_json(found),
            }
        )
    else:
        click.echo(f"{sum(totals.values())} messages checked")
        for violation in found:
            click.echo(f"{violation.promise}: {violation.what}: {', '.join(violation.rows)}")
    if found:
        click.echo(f"wamsg2: {len(found)} checks failed", err=True)
        return 1
    if not as_json:
        click.echo("every promise holds")
    return 0


@asynccontextmanager
async def _reader(settings: Settings, file: Path | None) -> AsyncIterator[Reader]:
    if file is None:
        async with common.open_store(settings, must_exist=True) as store:
            yield store.reader
    else:
        async with open_file(file) as reader:
            yield reader
