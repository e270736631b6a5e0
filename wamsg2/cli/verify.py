"""`wamsg2 verify`: does the database keep the promises?"""

import click

from wamsg2 import rules
from wamsg2.app import policy_of
from wamsg2.cli import common
from wamsg2.store import verify as checks


@click.command()
@common.json_option
@common.asynchronous
async def verify(as_json: bool) -> int:  # noqa: FBT001 - click passes options by name
    """Recount everything from the rows and list every broken promise; exit 1 on any."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        found = await checks.violations(store.reader, window=policy_of(settings).window, tolerance=rules.TOLERANCE)
        totals = await checks.totals(store.reader)
    if as_json:
        common.print_json(
            {
                "ok": not found,
                "messages": dict(totals),
                "violations": [{"promise": v.promise, "what": v.what, "rows": list(v.rows)} for v in found],
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
