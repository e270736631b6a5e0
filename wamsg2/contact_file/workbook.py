"""The first sheet of an Excel workbook (.xlsx) as rows of text, each value as its cell shows it.

openpyxl's read-only mode goes through a sheet row by row and in bounded memory. What a workbook could do to a reader
(compressed nothing, endless rows) is bounded before and while it is read.
"""

import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, BinaryIO
from zipfile import ZipFile

from wamsg2.contact_file.errors import ContactFileError

#: Excel's own limits.
_ROWS_LIMIT = 1_048_576
_COLUMNS_LIMIT = 16_384
_VALUE_LIMIT_CHARACTERS = 32_767
#: Unpacked: a sheet is read in passing, its strings and styles are held in memory.
_SHEETS_LIMIT_BYTES = 1 << 30
_STRINGS_LIMIT_BYTES = 128 << 20
_OTHERS_LIMIT_BYTES = 16 << 20
_ZEROS_FORMAT = re.compile("0+")


def rows(stream: BinaryIO) -> Iterator[list[str]]:
    """Every row of the first sheet, also the empty ones between.

    Raises:
        ContactFileError: it is no workbook, or one that no person made.
    """
    try:
        with ZipFile(stream) as archive:
            _check_sizes(archive)
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions that nobody asked for
            yield from _rows(stream)
    except (ContactFileError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - a broken file raises anything in the reader
        raise ContactFileError(
            f"not a workbook that can be read ({type(error).__name__}): save it anew as .xlsx or as “CSV UTF-8”"
        ) from None


def _check_sizes(archive: ZipFile) -> None:
    """Each part holds what it says and no more: zipfile reads no byte beyond that."""
    names = archive.namelist()
    if "xl/workbook.xml" not in names:
        raise ContactFileError("not an Excel workbook: save the list as .xlsx or as “CSV UTF-8”")
    sheets = strings = 0
    for part in archive.infolist():
        if part.filename.startswith("xl/worksheets/"):
            sheets += part.file_size
        elif part.filename.casefold() == "xl/sharedstrings.xml":
            strings += part.file_size
        elif part.filename.endswith((".xml", ".rels")) and part.file_size > _OTHERS_LIMIT_BYTES:
            raise ContactFileError(f"{part.filename} in it is too large: save the list as “CSV UTF-8”")
    if sheets > _SHEETS_LIMIT_BYTES or strings > _STRINGS_LIMIT_BYTES:
        raise ContactFileError("the workbook is too large: save the list as “CSV UTF-8”")


def _rows(stream: BinaryIO) -> Iterator[list[str]]:
    import openpyxl  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, and most files are CSV; it has no types

    workbook = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    try:
        if not workbook.worksheets:
            raise ContactFileError("the workbook has no sheet")
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones
        for number, cells in enumerate(sheet.iter_rows(), start=1):
            if number > _ROWS_LIMIT or len(cells) > _COLUMNS_LIMIT:
                raise ContactFileError("the sheet has more rows or columns than Excel can have")
            yield [_text(cell) for cell in cells]
    finally:
        workbook.close()


def _text(cell: Any) -> str:  # noqa: ANN401 - openpyxl has no types
    value = cell.value
    match value:
        case None:
            return ""
        case str():
            return value[:_VALUE_LIMIT_CHARACTERS].replace("\r\n", "\n")
        case bool():
            return str(value).upper()
        case int() | float():
            return _number(value, cell.number_format or "")
        case datetime():
            is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
            return value.date().isoformat() if is_day else value.isoformat(" ", "seconds")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _number(value: float, number_format: str) -> str:
    """Digits without exponent and without `.0`; with the zeros in front that a format such as `0000000000` shows."""
    if value != int(value):
        return repr(value)
    digits = str(int(value))
    return digits.zfill(len(number_format)) if _ZEROS_FORMAT.fullmatch(number_format) else digits
