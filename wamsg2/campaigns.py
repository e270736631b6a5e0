"""What a person does with campaigns: each action a row of short units of work, on the same database as the daemon."""

import asyncio
from array import array
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from random import Random
from typing import TextIO, TypeVar

from wamsg2 import template
from wamsg2.clock import Clock
from wamsg2.contact_file import reading
from wamsg2.contact_file.delimited import Record
from wamsg2.contact_file.reading import ContactFile, Shape
from wamsg2.contact_file.refused import RefusedRows
from wamsg2.model import WamsgError
from wamsg2.store import campaigns as rows
from wamsg2.store.database import Store
from wamsg2.store.writer import Tx, Work
from wamsg2.work import campaigning
from wamsg2.work.campaigning import CampaignError, Joined, Row
from wamsg2.work.judging import Judge, Refused

T = TypeVar("T")

_NAME_LIMIT_CHARACTERS = 64
#: After each transaction of many, so that whoever waits for the lock gets it.
_PAUSE_SECONDS = 0.002
_AGAIN = "import the file again: rows that are in are skipped"


class ImportBrokenOffError(WamsgError):
    """A file could not be imported to its end; the message says how many rows are in, and from which on none is."""


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What became of every row of a contacts file."""

    shape: Shape
    added: int = 0
    present: list[int] = field(default_factory=list)  #: rows whose contact was in the campaign already
    repeated: list[tuple[int, int]] = field(default_factory=list)  #: rows that repeat an earlier row's number
    refused: list[Refused] = field(default_factory=list)

    @property
    def rows_in(self) -> int:
        """How many rows have their contact in the campaign."""
        return self.added + len(self.present) + len(self.repeated)

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self.rows_in + len(self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What one contact would get."""

    phone: str  #: E.164
    message_1: str
    message_2: str | None


class _FirstRows:
    """In which row of a file each contact stood first: four bytes for each contact of the database."""

    def __init__(self) -> None:
        self._rows = array("I")

    def set(self, contact_id: int, row: int) -> int:
        """Remember a contact's row, unless they had one: that one, or 0."""
        if contact_id >= (length := len(self._rows)):
            self._rows.extend(repeat(0, max(contact_id + 1, 2 * length) - length))
        first_row = self._rows[contact_id]
        if not first_row:
            self._rows[contact_id] = row
        return first_row


class Campaigns:
    """The actions. Each raises `CampaignError` (or another `WamsgError`) with one clear line where it is refused."""

    def __init__(self, *, store: Store, clock: Clock, random: Random, default_country: str = "") -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._default_country = default_country

    async def create(self, name: str, message_1: str, message_2: str | None) -> None:
        """Make a draft."""
        if not name.strip() or len(name) > _NAME_LIMIT_CHARACTERS or not name.isprintable() or name != name.strip():
            raise CampaignError(f"a name has 1 to {_NAME_LIMIT_CHARACTERS} printable characters")
        for label, text in (("message 1", message_1), ("message 2", message_2)):
            if text is None:
                continue
            try:
                template.check(text)
            except template.TemplateError as error:
                raise CampaignError(f"{label}: {error}") from None
        key = f"{self._random.getrandbits(128):032x}"
        unit = partial(rows.add, name=name, key=key, message_1=message_1, message_2=message_2, now=self._clock.now())
        if not await self._store.write(unit):
            raise CampaignError(f"there is a campaign named {name!r} already")

    async def import_contacts(
        self,
        name: str,
        file: Path,
        *,
        phone_column: str | None = None,
        country: str | None = None,
        refused_rows: TextIO | None = None,
    ) -> ImportReport:
        """Add the contacts of a file; bad rows are reported, good rows are taken.

        Args:
            name: the campaign's.
            file: CSV or a workbook (`wamsg2.contact_file`).
            phone_column: the name of the column with the phone numbers; None: the usual names are looked for.
            country: two-letter region of numbers without a plus; None: the configured one.
            refused_rows: where the refused rows are written, so that they can be mended and imported.

        Raises:
            CampaignError, ContactFileError: refused before the first row is in.
            ImportBrokenOffError: some rows are in.
        """
        campaign = await self._store.write(partial(campaigning.find_for, name=name, action="import"))
        needed = template.variables(campaign.message_1 + (campaign.message_2 or ""))
        with reading.opened(file, needed=needed, phone_column=phone_column) as contacts:
            judge = Judge(
                header=contacts.header,
                needed=needed,
                texts=[text for text in (campaign.message_1, campaign.message_2) if text],
                country=self._default_country if country is None else country,
            )
            report = ImportReport(shape=contacts.shape)
            written = (
                None if refused_rows is None else RefusedRows(refused_rows, contacts.header, contacts.shape.separator)
            )
            await self._add_all(name, contacts, judge, report, written)
        return report

    async def _add_all(
        self, name: str, contacts: ContactFile, judge: Judge, report: ImportReport, refused_rows: RefusedRows | None
    ) -> None:
        first_rows = _FirstRows()
        chunk: list[Record] = []
        try:
            while chunk := list(islice(contacts.records, campaigning.CHUNK_ROWS)):
                judged = [judge(record) for record in chunk]
                rows = [row for row in judged if isinstance(row, Row)]
                unit = partial(campaigning.add_rows, name=name, rows=rows, now=self._clock.now())
                joined = iter(await self._write_some(unit) if rows else ())
                for record, row in zip(chunk, judged, strict=True):
                    if isinstance(row, Row):
                        refusal = _count(report, first_rows, row, next(joined), judge.header.phone_name)
                    else:
                        refusal = row
                    if refusal is not None:
                        report.refused.append(refusal)
                        if refused_rows is not None:
                            refused_rows.add(record, refusal.column, refusal.reason)
        except (WamsgError, OSError, UnicodeError) as error:
            if not report.rows_in:
                raise
            raise _broken_off(error, report.rows_in, chunk) from None
        except asyncio.CancelledError:
            # The transaction under way may be committed or not.
            in_doubt = f"{report.rows_in} to {report.rows_in + len(chunk)}"
            raise ImportBrokenOffError(f"stopped: {in_doubt} rows are in; {_AGAIN}") from None

    async def texts(self, name: str) -> tuple[str, str | None]:
        """Message 1 and Message 2 as they were written."""
        campaign = await self._store.write(partial(campaigning.find, name=name))
        return campaign.message_1, campaign.message_2

    async def preview(self, name: str) -> Preview | None:
        """The texts of the first contact who has not opted out; None where there is none."""
        return await self._store.write(partial(_preview, name=name))

    async def launch(self, name: str) -> None:
        """Create a Message 1 for every contact, then set the campaign running."""
        while True:
            after: int | None = 0
            while after is not None:
                unit = partial(campaigning.prepare_launch, name=name, after_contact_id=after, now=self._clock.now())
                after = await self._write_some(unit)
            if await self._store.write(partial(campaigning.finish_launch, name=name, now=self._clock.now())):
                return

    async def pause(self, name: str) -> None:
        """Hold its queued messages."""
        await self._store.write(partial(campaigning.pause, name=name, now=self._clock.now()))

    async def resume(self, name: str) -> int:
        """Go on; how many Message 2s were cancelled because their reply is too old."""
        return await self._store.write(partial(campaigning.resume, name=name, now=self._clock.now()))

    async def cancel(self, name: str) -> int:
        """End it for good; how many queued messages were cancelled."""
        campaign_id = await self._store.write(partial(campaigning.cancel, name=name, now=self._clock.now()))
        total = 0
        while n := await self._write_some(partial(campaigning.cancel_queued, campaign_id=campaign_id)):
            total += n
        return total

    async def _write_some(self, work: Work[T]) -> T:
        done = await self._store.write(work)
        await asyncio.sleep(_PAUSE_SECONDS)
        return done


def _preview(tx: Tx, name: str) -> Preview | None:
    campaign = campaigning.find(tx, name)
    if (found := rows.first_recipient(tx, campaign.id)) is None:
        return None
    number, variables = found
    return Preview(
        phone=number,
        message_1=template.render(campaign.message_1, variables),
        message_2=None if campaign.message_2 is None else template.render(campaign.message_2, variables),
    )


def _count(
    report: ImportReport, first_rows: _FirstRows, row: Row, joined: Joined | None, phone_column: str
) -> Refused | None:
    """Count a row that was written, or say why it was not."""
    if joined is None:
        return Refused(
            row.number, phone_column, "was forgotten on request (`wamsg2 contact remember` takes that back)"
        )
    if first_row := first_rows.set(joined.contact_id, row.number):
        report.repeated.append((row.number, first_row))
    elif joined.is_new:
        report.added += 1
    else:
        report.present.append(row.number)
    return None


def _broken_off(
    error: WamsgError | OSError | UnicodeError, rows_in: int, chunk: list[Record]
) -> ImportBrokenOffError:
    match error:
        case OSError():
            why = error.strerror or type(error).__name__
        case UnicodeError():
            why = "the file was changed meanwhile"
        case _:
            why = str(error)
    where = f"the import broke off at row {chunk[0].number}" if chunk else "the import broke off"
    again = "" if isinstance(error, CampaignError) else f"; {_AGAIN}"
    return ImportBrokenOffError(f"{why}: {rows_in} rows are in, {where}{again}")
