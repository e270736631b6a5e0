"""`wamsg2 catch-up`: what webhooks should have told, asked for now."""

import click

from wamsg2 import logs
from wamsg2.app import catch_up_of, client_of
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.inbox import Inbox
from wamsg2.model import WamsgError
from wamsg2.work.signals import NO_SIGNALS


@click.command("catch-up")
@common.json_option
@common.asynchronous
async def catch_up(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Ask Wassenger for replies and receipts whose webhooks never came, and take them in.

    The daemon does this by itself after a start and at intervals; a running one acts at once on what is found here.
    """
    settings = common.settings()
    settings.require_for_serving()
    logs.configure(level="error")
    client, clock = client_of(settings), SystemClock()
    try:
        async with common.open_store(settings, must_exist=True) as store:
            inbox = Inbox(
                store=store,
                clock=clock,
                policy=settings.policy(),
                signals=NO_SIGNALS,
                device=settings.wassenger.device,
            )
            found = await catch_up_of(settings, store=store, client=client, inbox=inbox, clock=clock).step()
    finally:
        await client.close()
    if as_json:
        common.print_json({"messages": found.messages, "receipts": found.receipts, "problem": found.problem})
    else:
        click.echo(f"found {found.messages} messages and {found.receipts} receipts that no webhook had told")
    if found.problem:
        raise WamsgError(f"not all could be asked for: {found.problem}")
