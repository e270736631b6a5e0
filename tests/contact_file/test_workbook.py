"""Excel workbooks: what a cell shows is what is read; what is no workbook is said in one line."""

import io
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl  # type: ignore[import-untyped]  # it has no types
import pytest

from wamsg2.contact_file import reading, workbook
from wamsg2.contact_file.errors import ContactFileError


def made(file: Path, *rows: Sequence[Any], formats: dict[str, str] | None = None) -> Path:
    """A workbook with these cells."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cell, number_format in (formats or {}).items():
        book.active[cell].number_format = number_format
    book.create_sheet("another").append(["no phone here"])
    book.save(file)
    return file


def read(file: Path, **wanted: Any) -> list[tuple[int, str, dict[str, str]]]:
    with reading.opened(file, needed=(), **wanted) as contacts:
        assert (contacts.shape.encoding, contacts.shape.separator) == ("xlsx", None)
        return [
            (r.number, contacts.header.number(r.cells), contacts.header.values(r.cells)) for r in contacts.records
        ]


def test_the_first_sheet_with_the_rows_as_excel_numbers_them(tmp_path: Path) -> None:
    file = made(
        tmp_path / "contacts.xlsx",
        [], ["Téléphone", "Prénom"], ["+22890123401", "Élodie"], [], [22890123402, "Awa\r\nMarie"], ["+22890123403"],
    )  # fmt: skip
    assert read(file) == [
        (3, "+22890123401", {"Prénom": "Élodie"}),
        (5, "22890123402", {"Prénom": "Awa\nMarie"}),
        (6, "+22890123403", {"Prénom": ""}),
    ]


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (62812345678, "General", "62812345678"),
        (62812345678.0, "General", "62812345678"),
        (2.2890123401e10, "0.00E+00", "22890123401"),  # the cell has all digits, whatever it shows
        (90123401, "0000000000", "0090123401"),
        (1.5, "General", "1.5"),
        (True, "General", "TRUE"),
        (None, "General", ""),
        (datetime(2026, 3, 1), "yyyy-mm-dd", "2026-03-01"),  # noqa: DTZ001 - a workbook knows no time zones
        (datetime(2026, 3, 1, 14, 30), "yyyy-mm-dd hh:mm", "2026-03-01 14:30:00"),  # noqa: DTZ001 - see above
        (time(14, 30), "hh:mm", "14:30:00"),
        (date(2026, 3, 1), "dd/mm/yyyy", "2026-03-01"),
        ("=1/0", "General", ""),  # a formula that nobody has calculated
    ],
)
def test_values(tmp_path: Path, value: object, number_format: str, text: str) -> None:
    file = made(tmp_path / "v.xlsx", ["phone", "x"], ["+22890123401", value], formats={"B2": number_format})
    assert read(file)[0][2] == {"x": text}


def archive(file: Path, **parts: bytes) -> Path:
    with ZipFile(file, "w", ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return file


def test_a_zip_file_that_is_no_workbook(tmp_path: Path) -> None:
    file = archive(tmp_path / "letter.docx", **{"word/document.xml": b"<x/>"})
    with pytest.raises(ContactFileError, match=r"letter\.docx: not an Excel workbook: save the list as"):
        read(file)


def test_a_workbook_that_is_cut_off(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole.xlsx", ["phone"], ["+22890123401"]).read_bytes()
    for size in (5, len(whole) // 2, len(whole) - 1):
        file = tmp_path / "part.xlsx"
        file.write_bytes(whole[:size])
        with pytest.raises(ContactFileError, match="not a workbook that can be read"):
            read(file)


def test_a_damaged_sheet_gives_no_rows_at_all(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole.xlsx", ["phone"], *(["+22890123401"] for _ in range(50)))
    file = tmp_path / "damaged.xlsx"
    with ZipFile(whole) as source, ZipFile(file, "w", ZIP_DEFLATED) as target:
        for part in source.namelist():
            content = source.read(part)
            target.writestr(part, content[:-200] if part == "xl/worksheets/sheet1.xml" else content)
    with pytest.raises(ContactFileError, match="not a workbook that can be read"), reading.opened(file, needed=()):
        pass


@pytest.mark.parametrize(
    ("part", "limit"),
    [
        ("xl/worksheets/sheet1.xml", "_SHEETS_LIMIT_BYTES"),
        ("xl/sharedStrings.xml", "_STRINGS_LIMIT_BYTES"),
        ("xl/styles.xml", "_OTHERS_LIMIT_BYTES"),
    ],
)
def test_compressed_nothing_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, limit: str
) -> None:
    monkeypatch.setattr(workbook, limit, 1000)
    file = archive(tmp_path / "bomb.xlsx", **{"xl/workbook.xml": b"<x/>", part: bytes(5000)})
    with pytest.raises(ContactFileError, match="too large"):
        read(file)


def test_more_columns_than_excel_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_COLUMNS_LIMIT", 2)
    with pytest.raises(ContactFileError, match="more rows or columns than Excel can have"):
        read(made(tmp_path / "wide.xlsx", ["phone", "a", "b"], ["+22890123401"]))


def test_a_workbook_through_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = made(tmp_path / "c.xlsx", ["phone"], ["+22890123401"]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read(reading.STANDARD_INPUT) == [(2, "+22890123401", {})]
