"""`wamsg2 message …`: what only a person can settle."""

import click

from wamsg2.app import policy_of
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.model import MessageStatus
from wamsg2.work import settling

_RESOLUTIONS = {"sent": MessageStatus.SENT, "retry": MessageStatus.QUEUED, "fail": MessageStatus.FAILED}


@click.group()
def message() -> None:
    """Settle messages that only a person can settle."""


@message.command()
@click.argument("message_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.argument("resolution", type=click.Choice(list(_RESOLUTIONS)))
@common.asynchronous
async def resolve(message_id: int, resolution: str) -> None:
    """Settle an uncertain message by hand: it was `sent`, `retry` sends it again, `fail` gives it up.

    Look at the chat first: `retry` of a message that did arrive sends it twice.
    """
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        now, policy = SystemClock().now(), policy_of(settings)
        status = await store.write(
            lambda tx: settling.resolve(tx, message_id, _RESOLUTIONS[resolution], now=now, policy=policy)
        )
    click.echo(f"message {message_id} is {status}")
