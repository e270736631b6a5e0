"""`wamsg2 campaign …`: what a person does with campaigns."""

import csv
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from wamsg2 import phone, template
from wamsg2 import status as status_report
from wamsg2.campaigns import Campaigns, ImportReport, Preview
from wamsg2.cli import common, texts
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.masking import mask_phone
from wamsg2.store import export as export_rows
from wamsg2.store import stats
from wamsg2.store.database import Store, is_served
from wamsg2.work.campaigning import CampaignError
from wamsg2.work.judging import WHOLE_ROW

#: In an import's report; --json has all.
_LISTED_ROWS = 5  #: of each kind
_LISTED_REASONS = 15


@click.group()
def campaign() -> None:
    """Create, fill, launch, pause and end campaigns."""


async def _campaign(store: Store, settings: Settings, name: str) -> dict[str, Any]:
    found = await stats.campaigns(store.reader, name)
    if not found:
        raise CampaignError(f"there is no campaign named {name!r}")
    return status_report.campaign_json(found[0], now=SystemClock().now(), policy=settings.policy())


@campaign.command()
@click.argument("name")
@texts.option(1, "Goes to every contact; {{column}} is filled in.")
@texts.option(2, "Goes to whoever replies in time; without it, nothing does.")
@common.asynchronous
async def create(
    name: str, message_1: str | None, message_1_file: Path | None, message_2: str | None, message_2_file: Path | None
) -> None:
    """Make a draft.

    Say what Message 1 is with --message-1 or --message-1-file. Texts may have several lines.
    """
    if message_1_file == message_2_file == Path("-"):
        raise click.UsageError("standard input holds one text: only one file can be -.")
    first = texts.chosen(1, message_1, message_1_file)
    second = texts.chosen(2, message_2, message_2_file)
    if first is None:
        raise click.UsageError("--message-1 TEXT or --message-1-file FILE is missing.")
    settings = common.settings()
    async with common.open_store(settings) as store:
        await common.campaigns_on(store, settings).create(name, first, second)
    texts.warn(texts.slips_of(first, second))
    click.echo(f"campaign {name!r} created; next: wamsg2 campaign import {shlex.quote(name)} FILE.csv")


def _country(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not phone.is_country(value.upper()):
        raise click.BadParameter("must be the two letters of a country, like TG.")
    return value and value.upper()


@campaign.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--phone-column", metavar="X", help="The column with the phone numbers, where its name does not say so."
)
@click.option(
    "--country", metavar="C", callback=_country,
    help="Country of the numbers without + (two letters, like TG); else contacts.default_country.",
)  # fmt: skip
@click.option(
    "--refused", "refused_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the refused rows to FILE, each with its reason: mend them there and import FILE.",
)  # fmt: skip
@common.json_option
@common.asynchronous
async def import_(
    name: str,
    file: Path,
    *,
    phone_column: str | None,
    country: str | None,
    refused_file: Path | None,
    as_json: bool,
) -> int:
    """Add the contacts of a file: CSV or an Excel workbook (.xlsx); `-` reads CSV from standard input.

    The first row holds the names of the columns. One of them has the phone numbers (phone, Téléphone, Mobile, …); the
    others are variables: {{name}} in a message is the column name.

    Good rows are taken. Bad ones are counted by their reasons, with their row numbers as Excel shows them, and the
    exit code is 1.
    """
    settings = common.settings()
    if refused_file is not None and _is_same_file(refused_file, file):
        raise click.UsageError("--refused FILE is the file that is imported: choose another name.")
    async with common.open_store(settings, must_exist=True) as store:
        with _refused_rows(refused_file) as stream:
            report = await common.campaigns_on(store, settings).import_contacts(
                name, file, phone_column=phone_column, country=country, refused_rows=stream
            )
    if as_json:
        common.print_json(_import_json(report))
    else:
        _print_import(report)
    if report.refused:
        what_next = (
            f"mend them in {refused_file} and import that"
            if refused_file
            else "--refused FILE writes them to a file that can be mended and imported"
        )
        click.echo(f"wamsg2: {common.count(len(report.refused), 'row')} refused; {what_next}", err=True)
        return 1
    return 0


def _is_same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


@contextmanager
def _refused_rows(file: Path | None) -> Iterator[TextIO | None]:
    if file is None:
        yield None
        return
    try:
        with common.destination(file) as stream:
            yield stream
    except OSError as error:
        raise CampaignError(f"{file}: {error.strerror}") from None


def _import_json(report: ImportReport) -> dict[str, Any]:
    return {
        "rows": report.rows,
        "added": report.added,
        "already_in_campaign": report.present,
        "repeated_in_file": [{"row": row, "first_row": first} for row, first in report.repeated],
        "refused": [{"row": r.row, "column": r.column, "reason": r.reason} for r in report.refused],
        "encoding": report.shape.encoding,
        "separator": report.shape.separator,
        "phone_column": report.shape.phone_column,
    }


def _print_import(report: ImportReport) -> None:
    shape = report.shape
    if shape.is_guessed:
        example = f", for example “{shape.example}”" if shape.example else ""
        click.echo(f"read as Windows-1252{example}\n  if that looks wrong, save the file as “CSV UTF-8”")
    if template.fold(shape.phone_column) != "phone":
        click.echo(f"phone numbers from the column {shape.phone_column}")
    click.echo(f"{common.count(report.added, 'contact')} added")
    if present := report.present:
        were = "was" if len(present) == 1 else "were"
        click.echo(f"{common.count(len(present), 'row')} {were} in the campaign already ({_some(present)})")
    if report.repeated:
        rows = [row for row, _ in report.repeated]
        repeat = "repeats" if len(rows) == 1 else "repeat"
        click.echo(f"{common.count(len(rows), 'row')} {repeat} the number of an earlier row ({_some(rows)})")
    by_reason: dict[tuple[str, str], list[int]] = {}
    for refused in report.refused:
        by_reason.setdefault((refused.column, refused.reason), []).append(refused.row)
    most_first = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[1][0]))
    for (column, reason), rows in most_first[:_LISTED_REASONS]:
        where = "" if column == WHOLE_ROW else f"{column}: "
        click.echo(f"{common.count(len(rows), 'row')} refused ({_some(rows)})\n  {where}{reason}")
    if more := most_first[_LISTED_REASONS:]:
        rest = sum(len(rows) for _, rows in more)
        click.echo(f"{common.count(rest, 'row')} refused for {len(more)} other reasons")


def _some(rows: list[int]) -> str:
    more = ", …" if len(rows) > _LISTED_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:_LISTED_ROWS]))}{more}"


@campaign.command()
@click.argument("name")
@common.yes_option
@common.asynchronous
async def launch(name: str, yes: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Start sending Message 1 to every contact."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        campaign = await _campaign(store, settings, name)
        campaigns = common.campaigns_on(store, settings)
        takes = timedelta(seconds=round(campaign["contacts"] * settings.wassenger.rate_limit_seconds))
        will_be_refused = campaign["status"] != "draft" or not campaign["contacts"]
        if not will_be_refused:
            await _confirm_texts(campaigns, settings, name, yes=yes)
            question = f"Send Message 1 of {name!r} to {common.count(campaign['contacts'], 'contact')}, over {takes}?"
            common.confirm(question, yes=yes)
        await campaigns.launch(name)
    click.echo(f"campaign {name!r} is running: {common.count(campaign['contacts'], 'contact')}, about {takes}")
    _tell_if_nothing_leaves(store)


async def _confirm_texts(campaigns: Campaigns, settings: Settings, name: str, *, yes: bool) -> None:
    """Show the first texts that go out, and ask about what is probably a mistake in them."""
    if not yes:
        preview = await campaigns.preview(name)
        if preview is None:
            click.echo("every contact has opted out: nothing will be sent")
        else:
            _print_preview(preview, settings)
    slips = texts.slips_of(*await campaigns.texts(name))
    texts.warn(slips)
    if slips:
        common.confirm("Send what is written there, as it is?", yes=yes)


def _print_preview(preview: Preview, settings: Settings) -> None:
    click.echo(f"Message 1 to the first contact, {mask_phone(preview.phone)}:")
    texts.show(preview.message_1)
    if preview.message_2 is not None:
        click.echo(f"Message 2, after a reply within {settings.message_2.reply_window_hours:g} hours:")
        texts.show(preview.message_2)


@campaign.command()
@click.argument("name")
@common.asynchronous
async def pause(name: str) -> None:
    """Hold its queued messages; replies are still taken."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        await common.campaigns_on(store, settings).pause(name)
    click.echo(f"campaign {name!r} is paused")


@campaign.command()
@click.argument("name")
@common.asynchronous
async def resume(name: str) -> None:
    """Go on where it was paused."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        cancelled = await common.campaigns_on(store, settings).resume(name)
        found = await _campaign(store, settings, name)
    click.echo(
        f"campaign {name!r} is running again: {found['message_1']['queued']:,} Message 1 and "
        f"{found['message_2']['queued']:,} Message 2 in the queue"
    )
    if cancelled:
        click.echo(f"{cancelled:,} Message 2 cancelled: the reply is older than 24 hours")
    _tell_if_nothing_leaves(store)


def _tell_if_nothing_leaves(store: Store) -> None:
    if not is_served(store.path):
        click.echo("no daemon is running: nothing leaves until `wamsg2 serve`")


@campaign.command()
@click.argument("name")
@common.yes_option
@common.asynchronous
async def cancel(name: str, yes: bool) -> None:  # noqa: FBT001 - click passes options by name
    """End it for good: every queued message is cancelled."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        found = await _campaign(store, settings, name)
        queued = sum(found[step]["queued"] for step in ("message_1", "message_2"))
        if found["status"] != "cancelled":
            common.confirm(
                f"Cancel {name!r} for good? {common.count(queued, 'queued message')} will not be sent, "
                "and no reply gets a Message 2.",
                yes=yes,
            )
        cancelled = await common.campaigns_on(store, settings).cancel(name)
    click.echo(f"campaign {name!r} is cancelled; {cancelled} queued messages cancelled")


@campaign.command("list")
@common.json_option
@common.asynchronous
async def list_(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show all campaigns."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        now, policy = SystemClock().now(), settings.policy()
        found = await stats.campaigns(store.reader)
        campaigns = [status_report.campaign_json(c, now=now, policy=policy) for c in found]
    if as_json:
        common.print_json(campaigns)
        return
    for each in campaigns:
        print_campaign_line(each)


@campaign.command()
@click.argument("name")
@common.json_option
@common.asynchronous
async def show(name: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show one campaign: its figures and its texts."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        found = await _campaign(store, settings, name)
        first, second = await common.campaigns_on(store, settings).texts(name)
    if as_json:
        common.print_json(found | {"texts": {"message_1": first, "message_2": second}})
        return
    click.echo(f"{found['name']}: {found['status']}, {found['contacts']} contacts")
    for step, text in (("message_1", first), ("message_2", second)):
        counts = ", ".join(f"{n} {status}" for status, n in found[step].items() if n)
        click.echo(f"{step.replace('_', ' ').capitalize()}: {counts or 'none'}")
        if text is not None:
            texts.show(text)
    click.echo(
        f"{found['replied']} replied ({found['interactions']} interactions), {found['opted_out']} opted out; "
        f"last window closes {common.local(found['window_closes_at'])}"
    )


@campaign.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@common.asynchronous
async def export(name: str, file: Path) -> None:
    """Write one CSV row per contact: what was sent when, and what came back. `-` writes to stdout."""
    settings = common.settings()
    async with common.open_store(settings, must_exist=True) as store:
        await _campaign(store, settings, name)
        try:
            async with aclosing(export_rows.campaign(store.reader, name)) as rows:
                with common.destination(file) as stream:
                    written = await _write(rows, stream)
        except OSError as error:
            raise CampaignError(f"{file}: {error.strerror}") from None
    if str(file) != "-":
        click.echo(f"{written} contacts written to {file}")


async def _write(rows: AsyncIterator[Sequence[str]], stream: TextIO) -> int:
    """Write header and rows; how many rows."""
    writer = csv.writer(stream)
    written = -1
    async for row in rows:
        writer.writerow(row)
        written += 1
    return written


def print_campaign_line(campaign: dict[str, Any]) -> None:
    """A campaign in one line."""
    first, second = campaign["message_1"], campaign["message_2"]
    click.echo(
        f"{campaign['name']:<20} {campaign['status']:<10} {campaign['contacts']} contacts, "
        f"M1 {_went_out(first)} out {first['queued']} queued {first['failed']} failed, "
        f"{campaign['replied']} replied, M2 {_went_out(second)} out {second['queued']} queued"
    )


def _went_out(counts: dict[str, int]) -> int:
    return counts["sent"] + counts["delivered"] + counts["read"]
