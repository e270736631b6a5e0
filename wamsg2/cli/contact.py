"""`wamsg2 contact …`: one person."""

import click

from wamsg2 import phone
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.model import WamsgError
from wamsg2.store import people as person_rows
from wamsg2.work import consent


@click.group()
def contact() -> None:
    """Look at a contact; opt them out or in."""


def _key(number: str, settings: Settings) -> tuple[str, str]:
    try:
        e164 = phone.parse(number, settings.contacts.default_country)
    except phone.PhoneError as error:
        raise WamsgError(f"PHONE: {error}") from None
    return e164, phone.key(e164)


@contact.command()
@click.argument("number", metavar="PHONE")
@common.json_option
@common.asynchronous
async def show(number: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show a contact's messages and interactions, without their words."""
    settings = common.settings()
    _, key = _key(number, settings)
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
    e164, key = _key(number, settings)
    async with common.open_store(settings) as store:
        now = SystemClock().now()
        cancelled = await store.write(lambda tx: consent.opt_out_number(tx, e164, key, now))
    click.echo(f"opted out; {cancelled} queued messages cancelled")


@contact.command("opt-in")
@click.argument("number", metavar="PHONE")
@common.asynchronous
async def opt_in(number: str) -> None:
    """Take back an opt-out: as if they had written START. Only with the person's consent."""
    settings = common.settings()
    _, key = _key(number, settings)
    async with common.open_store(settings, must_exist=True) as store:
        now = SystemClock().now()
        await store.write(lambda tx: consent.opt_in_number(tx, key, now))
    click.echo("opted in")
