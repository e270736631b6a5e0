"""`wamsg2 catch-up`: what webhooks should have told, asked for now."""

import click

from wamsg2 import logs
from wamsg2.app import catch_up_of, client_of
from wamsg2.arrivals import Arrivals
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.inbox import Inbox
from wamsg2.model import WamsgError
from wamsg2.work import catching_up
from wamsg2.work.signals import NO_SIGNALS


@click.command("catch-up")
@click.option(
    "--give-up",
    is_flag=True,
    help="After a restore, no longer wait for the list: send what Wassenger proves not to have been sent.",
)
@common.yes_option
@common.json_option
@common.asynchronous
async def catch_up(give_up: bool, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Ask Wassenger for replies and receipts whose webhooks never came, and take them in.

    The daemon does this by itself after a start and at intervals; a running one acts at once on what is found here.
    """
    settings = common.settings()
    if give_up:
        await _give_up(settings, yes=yes, as_json=as_json)
        return
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
            made = catch_up_of(
                settings, store=store, client=client, inbox=inbox, clock=clock, arrivals=Arrivals(clock)
            )
            found = await made.finish()
    finally:
        await client.close()
    if as_json:
        common.print_json({"messages": found.messages, "receipts": found.receipts, "problem": found.problem})
    else:
        click.echo(f"found {found.messages} messages and {found.receipts} receipts that no webhook had told")
    if found.problem:
        raise WamsgError(f"not all could be asked for: {found.problem}")


async def _give_up(settings: Settings, *, yes: bool, as_json: bool) -> None:
    """Let restored messages leave although it is not known who wrote STOP since the backup."""
    async with common.open_store(settings, must_exist=True) as store:
        question = "People who wrote STOP after the backup may get messages. Send without reading what they wrote?"
        common.confirm(question, yes=yes)
        is_waiting = await store.write(catching_up.give_up)
    if as_json:
        common.print_json({"gave_up": is_waiting})
    elif is_waiting:
        click.echo("restored messages no longer wait: each is sent once Wassenger proves that it was not")
    else:
        click.echo("nothing waits for the list")
