"""`wamsg2 interaction …`: what people wrote, and whose it is."""

from functools import partial

import click

from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.masking import mask_id, mask_phone
from wamsg2.store import history
from wamsg2.work import campaigning, replying


@click.group()
def interaction() -> None:
    """Look at what people wrote; say whose it is where nobody knows."""


@interaction.command("list")
@click.option("--unmatched", is_flag=True, help="Only what matches no contact.")
@click.option("--campaign", metavar="NAME", help="Only what belongs to this campaign.")
@common.limit_option
@common.reveal_option
@common.json_option
@common.asynchronous
async def list_(
    unmatched: bool,  # noqa: FBT001 - click passes options by name
    campaign: str | None,
    limit: int,
    reveal: bool,  # noqa: FBT001 - see above
    as_json: bool,  # noqa: FBT001 - see above
) -> None:
    """Show the newest interactions, without their words."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        if campaign is not None:
            await store.write(partial(campaigning.find, name=campaign))
        found = await history.interactions(store.reader, campaign=campaign, unmatched=unmatched, most=limit + 1)
    listed = found[:limit]
    if not reveal:
        for each in listed:
            each["phone"] = each["phone"] and mask_phone(each["phone"])
            each["chat_id"] = each["chat_id"] and mask_id(each["chat_id"])
    if as_json:
        common.print_json(listed)
        return
    for each in listed:
        click.echo(
            f"{each['id']:>7}  {common.local(each['reply_at'])}  {each['campaign'] or '-':<20} {each['type']:<10} "
            f"{each['outcome']:<22} {each['phone'] or each['chat_id'] or '-'}"
        )
    common.print_more(len(found), limit)


@interaction.command()
@click.argument("interaction_id", metavar="ID", type=common.ROW_ID)
@click.argument("number", metavar="PHONE")
@common.asynchronous
async def assign(interaction_id: int, number: str) -> None:
    """Say which contact wrote an unmatched interaction: it is then decided as if that had been known at once.

    Where WhatsApp hid the number behind an id of its own, the id is theirs from now on, and all else that was
    written from it is decided too.
    """
    settings = common.settings()
    _, key = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        now, policy = SystemClock().now(), settings.policy()
        decided = await store.write(lambda tx: replying.assign(tx, interaction_id, key, policy=policy, now=now))
    for each, outcome in decided.items():
        click.echo(f"interaction {each} is {outcome}")
