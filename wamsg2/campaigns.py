"""What a person does with campaigns: each action a row of short units of work, on the same database as the daemon."""

import asyncio
import csv
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from random import Random
from typing import TypeVar

from wamsg2 import phone, template
from wamsg2.clock import Clock
from wamsg2.model import Campaign
from wamsg2.store import campaigns as rows
from wamsg2.store.database import Store
from wamsg2.store.writer import Work
from wamsg2.work import campaigning
from wamsg2.work.campaigning import CampaignError, Row

T = TypeVar("T")

_NAME_LIMIT_CHARACTERS = 64
#: After each transaction of many, so that whoever waits for the lock gets it.
_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken: its number (the header is row 1), the column, and why."""

    row: int
    column: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of every row of a contacts file."""

    added: int = 0
    present: list[int] = field(default_factory=list)  #: rows whose contact was in the campaign already
    repeated: list[tuple[int, int]] = field(default_factory=list)  #: rows that repeat an earlier row's number
    refused: list[Refused] = field(default_factory=list)


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

    async def import_contacts(self, name: str, file: Path) -> ImportReport:
        """Add the contacts of a CSV file; bad rows are reported, good rows are taken.

        The file is UTF-8 (with or without BOM), separated by ``,`` or ``;``, with a header that has ``phone``.
        """
        campaign = await self._store.write(partial(campaigning.find_for, name=name, action="import"))
        report, first_rows = ImportReport(), _FirstRows()
        rows = self._rows(campaign, file, report)
        while chunk := list(islice(rows, campaigning.CHUNK_ROWS)):
            unit = partial(campaigning.add_rows, name=name, rows=chunk, now=self._clock.now())
            for row, joined in zip(chunk, await self._write_some(unit), strict=True):
                if joined is None:
                    report.refused.append(Refused(row.number, "phone", "was forgotten"))
                elif first_row := first_rows.set(joined.contact_id, row.number):
                    report.repeated.append((row.number, first_row))
                elif joined.is_new:
                    report.added += 1
                else:
                    report.present.append(row.number)
        report.refused.sort(key=lambda refused: refused.row)
        return report

    def _rows(self, campaign: Campaign, file: Path, report: ImportReport) -> Iterator[Row]:
        """The rows that can be taken; the others go into the report."""
        needed = template.variables(campaign.message_1 + (campaign.message_2 or ""))
        for number, record in _records(file, needed):
            if isinstance(record, Refused):
                report.refused.append(record)
                continue
            written = record.pop("phone")
            try:
                number_e164 = phone.parse(written, self._default_country)
            except phone.PhoneError as error:
                report.refused.append(Refused(number, "phone", str(error)))
                continue
            if refusal := _refusal(campaign, number, record, needed):
                report.refused.append(refusal)
                continue
            yield Row(number, number_e164, phone.key(number_e164), record)

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


def _refusal(campaign: Campaign, number: int, values: dict[str, str], needed: tuple[str, ...]) -> Refused | None:
    for name in needed:
        if not values[name]:
            return Refused(number, name, "no value, but a message uses it")
    for text in filter(None, (campaign.message_1, campaign.message_2)):
        try:
            template.render(text, values)
        except template.TemplateError as error:
            return Refused(number, "-", str(error))
    return None


def _records(file: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str] | Refused]]:
    """Number and values of each row (the header is row 1), or why it cannot be read.

    Raises:
        CampaignError: the file as a whole cannot be used.
    """
    line = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header_line = lines.readline()
            delimiter = ";" if header_line.count(";") > header_line.count(",") else ","
            lines.seek(0)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            names = _header(file, next(reader, []), needed)
            for number, fields in enumerate(reader, start=2):
                line = reader.line_num
                values = [field.strip() for field in fields]
                if not any(values):
                    continue
                if len(values) != len(names):
                    yield number, Refused(number, "-", f"{len(values)} columns, the header has {len(names)}")
                    continue
                yield number, dict(zip(names, values, strict=True))
    except UnicodeDecodeError as error:
        raise CampaignError(f"{file}: not UTF-8 (byte {error.start}): save it as CSV UTF-8") from None
    except csv.Error as error:
        raise CampaignError(f"{file}: after line {line}: {error}") from None
    except OSError as error:
        raise CampaignError(f"{file}: {error.strerror}") from None


def _header(file: Path, fields: list[str], needed: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in fields]
    names = ["phone" if name.casefold() == "phone" else name for name in names]
    if "phone" not in names:
        raise CampaignError(f"{file}: row 1: there is no column named phone")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CampaignError(f"{file}: row 1: the column {twice!r} is there twice")
    if missing := [name for name in needed if name not in names or name == "phone"]:
        raise CampaignError(f"{file}: row 1: there is no column {missing[0]!r}, but a message uses it")
    return names
