"""`wamsg2 message …`: single messages, and what only a person can settle."""

from functools import partial
from typing import Any

import click

from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.masking import mask_phone
from wamsg2.model import MessageStatus, WamsgError
from wamsg2.store import history
from wamsg2.work import campaigning, settling

_RESOLUTIONS = {"sent": MessageStatus.SENT, "retry": MessageStatus.QUEUED, "fail": MessageStatus.FAILED}


@click.group()
def message() -> None:
    """Look at single messages; settle those that only a person can settle."""


@message.command("list")
@click.option("--uncertain", is_flag=True, help="Only those that may have been accepted.")
@click.option("--campaign", metavar="NAME", help="Only those of this campaign.")
@click.option("--status", type=click.Choice([status.value for status in MessageStatus]), help="Only those.")
@common.limit_option
@common.json_option
@common.asynchronous
async def list_(
    uncertain: bool,  # noqa: FBT001 - click passes options by name
    campaign: str | None,
    status: str | None,
    limit: int,
    as_json: bool,  # noqa: FBT001 - see above
) -> None:
    """Show the newest messages, without their words."""
    if uncertain and status not in (None, MessageStatus.UNCERTAIN):
        raise click.UsageError("--uncertain is --status uncertain: it cannot be another one too.")
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        if campaign is not None:
            await store.write(partial(campaigning.find, name=campaign))
        wanted = MessageStatus.UNCERTAIN if uncertain else status
        found = await history.messages(store.reader, campaign=campaign, status=wanted, most=limit + 1)
    listed = [each | {"phone": mask_phone(each["phone"])} for each in found[:limit]]
    if as_json:
        common.print_json(listed)
        return
    for each in listed:
        click.echo(
            f"{each['id']:>7}  {each['campaign']:<20} Message {each['step']}  {each['phone']:<10} "
            f"{each['status']:<10} {common.local(each['sent_at'] or each['attempted_at'])}{_why(each)}"
        )
    common.print_more(len(found), limit)


@message.command()
@click.argument("message_id", metavar="ID", type=common.ROW_ID)
@common.reveal_option
@common.json_option
@common.asynchronous
async def show(message_id: int, reveal: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show a message and all that happened to it, in order, without its words."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        found = await history.message(store.reader, message_id)
    if found is None:
        raise WamsgError(f"there is no message {message_id}")
    if not reveal:
        found["phone"] = mask_phone(found["phone"])
    if as_json:
        common.print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    click.echo(f"{found['campaign']}: Message {found['step']} to {found['phone']}, {found['status']}{_why(found)}")
    for each in found["history"]:
        again = f" ({each['times']} times, last {common.local(each['last_at'])})" if "times" in each else ""
        click.echo(f"  {common.local(each['at'])}  {each['what']}{again}")
    if found["status"] == MessageStatus.QUEUED:
        click.echo(f"  {common.local(found['due_at'])}  due")
    elif found["look_up_at"]:
        click.echo(f"  {common.local(found['look_up_at'])}  next look-up, by the daemon")


def _why(facts: dict[str, Any]) -> str:
    return f"  ({facts['reason']})" if facts["reason"] else ""


@message.command()
@click.argument("message_id", metavar="ID", type=common.ROW_ID)
@click.argument("resolution", type=click.Choice(list(_RESOLUTIONS)))
@common.yes_option
@common.asynchronous
async def resolve(message_id: int, resolution: str, yes: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Settle an uncertain message by hand: it was `sent`, `retry` sends it again, `fail` gives it up.

    Look at the chat first: `retry` of a message that did arrive sends it twice.
    """
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        found = await history.message(store.reader, message_id)
        if resolution == "retry" and found is not None and found["status"] == MessageStatus.UNCERTAIN:
            if not yes:
                _print(found | {"phone": mask_phone(found["phone"])})
            common.confirm("It may have arrived. Send it again?", yes=yes)
        now, policy = SystemClock().now(), settings.policy()
        status = await store.write(
            lambda tx: settling.resolve(tx, message_id, _RESOLUTIONS[resolution], now=now, policy=policy)
        )
    click.echo(f"message {message_id} is {status}")
