"""`wamsg2 interaction …`: what people wrote, and whose it is."""

import sys
from functools import partial

import click

from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.masking import mask_id, mask_phone
from wamsg2.model import ReplyOutcome, Ruling
from wamsg2.store import history
from wamsg2.work import campaigning, replying


@click.group()
def interaction() -> None:
    """Look at what people wrote; say whose it is where nobody knows."""


@interaction.command("list")
@click.option("--unmatched", is_flag=True, help="Show only those that match no contact.")
@click.option("--suspected", is_flag=True, help="Show only suspected opt-outs, which wait for your decision.")
@click.option("--campaign", metavar="NAME", help="Show only those of this campaign.")
@common.limit_option
@common.reveal_option
@common.json_option
@common.asynchronous
async def list_(  # noqa: PLR0917 - click passes options by name
    unmatched: bool,  # noqa: FBT001 - click passes options by name
    suspected: bool,  # noqa: FBT001 - see above
    campaign: str | None,
    limit: int,
    reveal: bool,  # noqa: FBT001 - see above
    as_json: bool,  # noqa: FBT001 - see above
) -> None:
    """Show the newest interactions, without their words."""
    if unmatched and suspected:
        raise click.UsageError("--unmatched and --suspected exclude each other")
    settings = common.settings()
    outcome = ReplyOutcome.OPT_OUT_SUSPECTED if suspected else ReplyOutcome.UNKNOWN_CONTACT if unmatched else None
    async with common.open_store(settings, must_exist=True) as store:
        if campaign is not None:
            await store.write(partial(campaigning.find, name=campaign))
        found = await history.interactions(store.reader, campaign=campaign, outcome=outcome, most=limit + 1)
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
    if suspected and listed:
        click.echo("next: wamsg2 interaction decide ID shows the words of one and asks")


@interaction.command()
@click.argument("interaction_id", metavar="ID", type=common.ROW_ID)
@click.argument("ruling", metavar="[opt-out|reply]", type=click.Choice(["opt-out", "reply"]), required=False)
@common.asynchronous
async def decide(interaction_id: int, ruling: str | None) -> None:
    """Decide whether a suspected opt-out is one, or a reply. Without a decision, show its words and ask.

    An opt-out is as if the contact had written STOP. A reply earns Message 2, if its window is still open.
    """
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        if ruling is None:
            if sys.stdin is None or not sys.stdin.isatty():
                raise common.UnansweredError("name the decision, opt-out or reply")
            words = await history.words_of(store.reader, interaction_id)
            click.echo(f"They wrote: {_printable(words or '')}")
            ruling = click.prompt("What is it", type=click.Choice(["opt-out", "reply"]))
        now, policy, what = SystemClock().now(), settings.policy(), Ruling(ruling.replace("-", "_"))
        outcome = await store.write(lambda tx: replying.rule(tx, interaction_id, what, policy=policy, now=now))
    click.echo(f"interaction {interaction_id} is {outcome}{_MEANING.get(outcome, '')}")


#: What a decision comes to, where its name does not tell.
_MEANING = {
    ReplyOutcome.OPT_OUT: ": nothing more goes to this contact",
    ReplyOutcome.MESSAGE_2_QUEUED: ": Message 2 goes out at once",
    ReplyOutcome.NO_RECENT_MESSAGE_1: ": no window is open for it any more, so Message 2 is not sent",
}


def _printable(words: str) -> str:
    """Other people's words on a terminal: what would move its cursor, or turn its text around, is shown as `?`."""
    return "".join(c if c.isprintable() or c == " " else "?" for c in words)


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
