"""Opening a contacts file: what it is, in which encoding, with which columns; then its rows."""

import io
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import orjson

from wamsg2.contact_file import delimited, encoding, header, workbook
from wamsg2.contact_file.delimited import Record
from wamsg2.contact_file.errors import ContactFileError
from wamsg2.contact_file.header import Header

#: A name for standard input.
STANDARD_INPUT = Path("-")

_XLSX = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0"
#: What cannot be read twice is kept: in memory up to here, then in a file without a name.
_IN_MEMORY_BYTES = 16 << 20
_KEPT_LIMIT_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
_EXAMPLE_CHARACTERS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What kind of file it turned out to be."""

    encoding: str  #: ``utf-8``, ``utf-16``, ``windows-1252``, or ``xlsx`` for a workbook
    separator: str | None  #: None in a workbook
    phone_column: str
    example: str | None = None  #: a value with an accent, where the encoding had to be guessed

    @property
    def is_guessed(self) -> bool:
        """Whether a person should see an accent before they believe the encoding."""
        return self.encoding == encoding.WINDOWS_1252.name


class ContactFile:
    """A contacts file that can be used: its shape, its columns and its rows."""

    def __init__(self, shape: Shape, columns: Header, rows: Iterator[Record]) -> None:
        self.shape = shape
        self.header = columns
        filled = (record for record in rows if not record.is_empty)
        if (first := next(filled, None)) is None:
            raise ContactFileError("the file has a header and no rows")
        #: Every row below the header in which something is written; once.
        self.records: Iterator[Record] = chain([first], filled)


@contextmanager
def opened(file: Path, *, needed: Sequence[str], phone_column: str | None = None) -> Iterator[ContactFile]:
    """Open a file, look at all of it, and find its columns.

    Args:
        file: a path, a pipe, or `STANDARD_INPUT`.
        needed: the variables of the messages.
        phone_column: the name of the column with the phone numbers, where it is not a usual one.

    Raises:
        ContactFileError: it cannot be used as a whole; the message begins with its name.
    """
    with ExitStack() as stack:
        try:
            stream = _seekable(file, stack)
            contacts = _look(stream, stack, needed, phone_column)
        except (ContactFileError, header.HeaderError) as error:
            raise ContactFileError(f"{_name(file)}: {error}") from None
        except OSError as error:
            raise ContactFileError(f"{_name(file)}: {error.strerror}") from None
        yield contacts


def _name(file: Path) -> str:
    return "standard input" if file == STANDARD_INPUT else str(file)


def _seekable(file: Path, stack: ExitStack) -> BinaryIO:
    """The file, or what came out of a pipe."""
    if file == STANDARD_INPUT:
        return _kept(sys.stdin.buffer, stack)
    stream = stack.enter_context(file.open("rb"))
    is_file = stat.S_ISREG(file.stat().st_mode)
    return stream if is_file else _kept(stream, stack)


def _kept(pipe: BinaryIO, stack: ExitStack) -> BinaryIO:
    kept = _temporary(stack)
    size = 0
    while chunk := pipe.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > _KEPT_LIMIT_BYTES:
            raise ContactFileError(f"more than {_KEPT_LIMIT_BYTES >> 20:,} MiB: no list of contacts")
        kept.write(chunk)
    kept.seek(0)
    return kept


def _temporary(stack: ExitStack) -> BinaryIO:
    return cast("BinaryIO", stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)))


def _look(stream: BinaryIO, stack: ExitStack, needed: Sequence[str], phone_column: str | None) -> ContactFile:
    start = stream.read(4)
    stream.seek(0)
    if start == _OLE:
        raise ContactFileError(
            "an old Excel workbook (.xls), or one with a password: save it as .xlsx without one, or as “CSV UTF-8”"
        )
    if start == _XLSX:
        rows = _from_workbook(stream, stack)
        columns = _read_header(rows, needed, phone_column)
        shape = Shape(encoding="xlsx", separator=None, phone_column=columns.phone_name)
        return ContactFile(shape, columns, rows)
    found = encoding.detect(stream)
    text = stack.enter_context(io.TextIOWrapper(stream, encoding=found.codec, newline=None))
    separator = delimited.read_separator(text)
    columns_found: list[Header] = []
    rows = delimited.records(text, separator, _is_row(columns_found))
    columns_found.append(_read_header(rows, needed, phone_column))
    columns = columns_found[0]
    example = _example(text, separator, columns) if found is encoding.WINDOWS_1252 else None
    shape = Shape(encoding=found.name, separator=separator, phone_column=columns.phone_name, example=example)
    return ContactFile(shape, columns, rows)


def _is_row(columns_found: list[Header]) -> Callable[[list[str]], bool]:
    """Before the columns are known, nothing is a row."""
    return lambda cells: bool(columns_found) and columns_found[0].is_row(cells)


def _from_workbook(stream: BinaryIO, stack: ExitStack) -> Iterator[Record]:
    """All rows of the sheet, read through once before the first is given: a broken workbook is refused as a whole."""
    kept = _temporary(stack)
    size = 0
    for cells in workbook.rows(stream):
        size += kept.write(orjson.dumps(cells) + b"\n")
        if size > _KEPT_LIMIT_BYTES:
            raise ContactFileError("the workbook is too large: save the list as “CSV UTF-8”")
    kept.seek(0)
    return (Record(number, orjson.loads(line)) for number, line in enumerate(kept, start=1))


def _read_header(rows: Iterator[Record], needed: Sequence[str], phone_column: str | None) -> Header:
    first = next((record for record in rows if not record.is_empty), None)
    if first is None:
        raise ContactFileError("the file is empty")
    if first.fault:
        raise ContactFileError(f"row {first.number}: {first.fault}")
    return header.read(first.cells, needed=needed, phone_column=phone_column)


def _example(text: TextIO, separator: str, columns: Header) -> str | None:
    """The first value below the header with an accent, for a person to look at; the text stands where it stood."""
    start = text.tell()
    try:
        while line := text.readline(_CHUNK_BYTES):
            if line.isascii():
                continue
            for cell in line.split(separator):
                value = cell.strip(' "\n')
                if any(letter.isalpha() and not letter.isascii() for letter in value):
                    return value[:_EXAMPLE_CHARACTERS]
        return next((name for name in columns.cells if not name.isascii()), None)
    finally:
        text.seek(start)
