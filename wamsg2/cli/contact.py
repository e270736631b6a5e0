"""`wamsg2 contact …`: one person."""

from pathlib import Path

import click

from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.model import WamsgError
from wamsg2.privacy import Cleaned, Erased, Privacy, clean
from wamsg2.store import people as person_rows
from wamsg2.work import consent


@click.group()
def contact() -> None:
    """Look at a contact; opt them out or in; give them what is stored of them, or forget them."""


@contact.command()
@click.argument("number", metavar="PHONE")
@common.json_option
@common.asynchronous
async def show(number: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show a contact's messages and interactions, without their words."""
    settings = common.settings()
    _, key = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        person = await person_rows.by_phone_key(store.reader, key)
    if person is None:
        raise WamsgError("there is no contact with this number")
    if as_json:
        common.print_json(person)
        return
    click.echo(f"{person['phone']}{'  (opted out)' if person['opted_out'] else ''}")
    for each in person["messages"]:
        why = f"  ({each['reason']})" if each["reason"] else ""
        click.echo(
            f"  {each['campaign']:<20} Message {each['step']}  {each['status']:<10} id {each['id']}"
            f"  {common.local(each['sent_at'])}{why}"
        )
    for each in person["interactions"]:
        campaign, when = each["campaign"] or "-", common.local(each["reply_at"])
        click.echo(f"  {campaign:<20} {each['type']:<10} {each['outcome']:<22} {when}")


@contact.command("opt-out")
@click.argument("number", metavar="PHONE")
@common.asynchronous
async def opt_out(number: str) -> None:
    """Write to this number no more: as if they had written STOP. Also for a number that is in no campaign yet."""
    settings = common.settings()
    e164, key = common.phone_and_key(number, settings)
    async with common.open_store(settings) as store:
        now = SystemClock().now()
        cancelled = await store.write(lambda tx: consent.opt_out_number(tx, e164, key, now))
    click.echo(f"opted out; {cancelled} queued messages cancelled")


@contact.command("opt-in")
@click.argument("number", metavar="PHONE")
@common.yes_option
@common.asynchronous
async def opt_in(number: str, yes: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Take back an opt-out: as if they had written START. Only with the person's consent."""
    settings = common.settings()
    _, key = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        if await person_rows.by_phone_key(store.reader, key) is None:
            raise WamsgError("there is no contact with this number")
        common.confirm("Write to this number again? Only with the person's consent.", yes=yes)
        now = SystemClock().now()
        await store.write(lambda tx: consent.opt_in_number(tx, key, now))
    click.echo("opted in")


@contact.command()
@click.argument("number", metavar="PHONE")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default="-", metavar="FILE",
    help="Write to this file, which only you can read, and not to stdout.",
)  # fmt: skip
@common.asynchronous
async def export(number: str, output: Path) -> None:
    """Write everything that is stored of a person, with all words, as JSON.

    What others wrote that holds their number is part of it: read it before you give it away.
    """
    settings = common.settings()
    e164, _ = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        everything = await Privacy(store=store, clock=SystemClock()).export(e164)
    if everything is None:
        raise WamsgError("nothing is stored of this number")
    try:
        with common.destination(output) as stream:
            stream.write(f"{common.to_json(everything)}\n")
    except OSError as error:
        raise WamsgError(f"{output}: {error.strerror}") from None
    if str(output) != "-":
        click.echo(f"written to {output}")


@contact.command()
@click.argument("number", metavar="PHONE")
@common.yes_option
@click.option("--rewrite", is_flag=True, help="Write the whole file anew in any case; webhooks wait meanwhile.")
@common.json_option
@common.asynchronous
async def forget(number: str, yes: bool, rewrite: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Erase a person: number, names and words leave every row and file of the database; counts stay.

    Nothing more is sent to them, what they write is ignored, and no import takes their number again.
    """
    settings = common.settings()
    e164, _ = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        privacy = Privacy(store=store, clock=SystemClock())
        if not await privacy.is_known(e164):
            raise WamsgError("nothing is stored of this number; `wamsg2 contact opt-out` keeps campaigns from it")
        common.confirm("Erase everything about this person? It cannot be taken back.", yes=yes)
        erased = await privacy.forget(e164)
        path = store.path
    cleaned = await clean(path, erased.words, rewrite=rewrite)
    if as_json:
        common.print_json(_as_json(erased, cleaned))
    else:
        _tell(erased, cleaned)
    if not cleaned.log_is_empty:
        raise WamsgError(
            f"{path}-wal still holds their words: another program reads the database. "
            "Let it end, and run this command again"
        )
    if cleaned.pages:
        raise WamsgError(
            f"{cleaned.pages} pages of {path} still hold words of theirs in unused space: run this command again "
            "with --rewrite, at a time when webhooks may wait"
        )


def _as_json(erased: Erased, cleaned: Cleaned) -> dict[str, object]:
    return {
        "interactions": erased.interactions,
        "events": erased.events,
        "mentions": erased.mentions,
        "cancelled": erased.cancelled,
        "log_is_empty": cleaned.log_is_empty,
        "pages_left": cleaned.pages,
        "rewritten": cleaned.rewritten,
        "copies": [str(path) for path in cleaned.copies],
    }


def _tell(erased: Erased, cleaned: Cleaned) -> None:
    click.echo(
        f"forgotten: {erased.interactions} interactions and {erased.events} raw events emptied, "
        f"{erased.mentions} other mentions blotted out; {erased.cancelled} queued messages cancelled"
    )
    if cleaned.rewritten:
        click.echo("the database was written anew")
    click.echo("backups and exported files of before still hold them, and so do WhatsApp and Wassenger")
    for copy in cleaned.copies:
        click.echo(f"beside the database: {copy}")


@contact.command()
@click.argument("number", metavar="PHONE")
@common.asynchronous
async def remember(number: str) -> None:
    """Take back that a person was forgotten, with their consent: they can be imported again.

    What was erased stays so. Who was in a campaign is in it still, and opted out.
    """
    settings = common.settings()
    e164, _ = common.phone_and_key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        has_contact = await Privacy(store=store, clock=SystemClock()).remember(e164)
    if has_contact is None:
        raise WamsgError("this number was not forgotten")
    click.echo("can be imported again" + ("; opted out until `wamsg2 contact opt-in`" if has_contact else ""))
