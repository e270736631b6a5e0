"""Files as people have them: each is read for what it is, or refused as a whole before its first row is given."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2.contact_file import encoding, reading
from wamsg2.contact_file.delimited import MISPLACED, NOT_CLOSED, TOO_LONG
from wamsg2.contact_file.errors import ContactFileError
from wamsg2.contact_file.reading import Shape

Write = Callable[[str | bytes], Path]
Rows = list[tuple[int, str, dict[str, str]]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: str | bytes) -> Path:
        file = tmp_path / "contacts.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return make


def read(file: Path, *needed: str, phone_column: str | None = None) -> tuple[Shape, Rows]:
    """Shape, and number, phone number and variables of each row; no row may have a fault."""
    with reading.opened(file, needed=needed, phone_column=phone_column) as contacts:
        rows = []
        for record in contacts.records:
            assert record.fault is None
            rows.append((record.number, contacts.header.number(record.cells), contacts.header.values(record.cells)))
        return contacts.shape, rows


def faults(file: Path) -> dict[int, str | None]:
    """What is wrong with each row."""
    with reading.opened(file, needed=()) as contacts:
        return {record.number: record.fault for record in contacts.records}


# --- encodings -------------------------------------------------------------------------------------------------

TEXT = "phone;prénom\n+22890123401;Élodie\n+22890123402;Koffi\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(TEXT.encode(), "utf-8", id="UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + TEXT.encode(), "utf-8", id="UTF-8 with BOM"),
        pytest.param(TEXT.encode("utf-16"), "utf-16", id="UTF-16 with BOM"),
        pytest.param(b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16", id="UTF-16, big end first, with BOM"),
        pytest.param(TEXT.encode("utf-16-le"), "utf-16", id="UTF-16 without BOM"),
        pytest.param(TEXT.encode("utf-16-be"), "utf-16", id="UTF-16, big end first, without BOM"),
        pytest.param(TEXT.encode("cp1252"), "windows-1252", id="Windows-1252"),
    ],
)
def test_encodings(write: Write, content: bytes, name: str) -> None:
    shape, rows = read(write(content), "prénom")
    assert (shape.encoding, shape.separator) == (name, ";")
    assert rows == [(2, "+22890123401", {"prénom": "Élodie"}), (3, "+22890123402", {"prénom": "Koffi"})]
    assert shape.example == ("Élodie" if name == "windows-1252" else None)


def test_windows_1252_that_shows_only_at_the_end(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1000)
    early = "".join(f"+228901{n:05d};Awa\n" for n in range(3000))
    shape, rows = read(write(f"phone;name\n{early}+22890999999;Hélène\n".encode("cp1252")))
    assert (shape.encoding, shape.example, len(rows)) == ("windows-1252", "Hélène", 3001)
    assert rows[-1] == (3002, "+22890999999", {"name": "Hélène"})


@pytest.mark.parametrize("at", range(1, 12))
def test_a_character_on_the_border_of_two_chunks(write: Write, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", at)
    assert read(write("phone,n\n+22890123401,é€👍\n"))[0].encoding == "utf-8"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("phone,n\n1,é\n2,x\n".encode() + b"3,\xe9\n", "line 4 is not UTF-8, but lines before it are"),
        (b"\xef\xbb\xbfphone,n\n1,x\n2,\xe9\n", "line 3 is not UTF-8, but lines before it are"),
        (b"phone,n\n1,\xe9\n2,\x8d\n", "line 3 is neither UTF-8 nor Windows-1252"),
        ("phone,n\n1,x\n".encode("utf-16") + b"\x00\xdc\x00\xdc", "line 3 is damaged"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "an old Excel workbook"),
        (b"PK\x03\x04" + b"\0" * 600, "not a workbook that can be read"),
        (b"\0" * 600, "There is no column with phone numbers"),
        ("+22890123401;Awa\n", "The first row holds a phone number: put a row with the names"),
    ],
)
def test_files_that_are_refused_as_a_whole(write: Write, content: bytes | str, line: str) -> None:
    file = write(content)
    with pytest.raises(ContactFileError) as refused, reading.opened(file, needed=()):
        pass
    assert str(refused.value).startswith(f"{file}: {line}")
    assert "\n" not in str(refused.value)


# --- shapes ----------------------------------------------------------------------------------------------------

AWA = "+22890123401", {"name": "Awa"}


@pytest.mark.parametrize(
    ("content", "number"),
    [
        pytest.param("\nphone,name\n+22890123401,Awa\n", 3, id="an empty line first"),
        pytest.param(";;\n\nphone;name\n+22890123401;Awa\n", 4, id="empty lines first"),
        pytest.param("sep=;\nphone;name\n+22890123401;Awa\n", 2, id="sep="),
        pytest.param('"SEP=|"\nphone|name\n+22890123401|Awa\n', 2, id="sep=, quoted, of its own"),
        pytest.param("\ufeffsep=;\nphone;name\n+22890123401;Awa\n", 2, id="BOM and sep="),
        pytest.param("phone\tname\n+22890123401\tAwa\n", 2, id="tabs"),
        pytest.param('"phone, or mobile";phone;name\n;+22890123401;Awa\n', 2, id="the other separator in quotes"),
        pytest.param("phone;name\n+22890123401;Awa;\n", 2, id="a delimiter behind each row"),
        pytest.param("phone;name;;\n+22890123401;Awa;;\n", 2, id="and behind the header"),
        pytest.param("phone,name\r\r\n+22890123401,Awa\r\n", 3, id="CR CR LF"),
        pytest.param("phone,name\r+22890123401,Awa\r", 2, id="CR"),
        pytest.param('phone,name\n\n \n"+22890123401","Awa"\n', 4, id="empty lines between"),
        pytest.param("\u200bphone,\ufeffname\u200b\n+22890123401,Awa\n", 2, id="invisible characters"),
        pytest.param("refused row;refused because;phone;name\n4;x;+22890123401;Awa\n", 2, id="refused before"),
    ],
)
def test_shapes(write: Write, content: str, number: int) -> None:
    _, rows = read(write(content), "name")
    assert [(each, phone, values["name"]) for each, phone, values in rows] == [(number, AWA[0], "Awa")]


def test_short_rows_have_empty_values(write: Write) -> None:
    _, rows = read(write("phone,name,note\n+22890123401,Awa,x\n+22890123402,Kofi\n+22890123403\n"))
    assert [values for *_, values in rows] == [
        {"name": "Awa", "note": "x"},
        {"name": "Kofi", "note": ""},
        {"name": "", "note": ""},
    ]


def test_a_line_break_in_quotes_belongs_to_its_row(write: Write) -> None:
    content = 'phone;"name\nand more";note\r\n1;"Awa\r\nKoffi";x\r\n2;"a;b\n\n""c""";y\r\n3;Z;z\r\n'
    _, rows = read(write(content))
    assert rows == [
        (2, "1", {"name and more": "Awa\nKoffi", "note": "x"}),
        (3, "2", {"name and more": 'a;b\n\n"c"', "note": "y"}),
        (4, "3", {"name and more": "Z", "note": "z"}),
    ]


# --- slips with quotation marks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "fault"),
    [
        ('+22890123402;"Kofi', NOT_CLOSED),
        ('+22890123402;"Kofi" A', MISPLACED),
        ('"+22890123402;Kofi', NOT_CLOSED),
        ('+22890123402;"Ko"fi"', MISPLACED),
        (f"+22890123402;{'x' * 200_000}", TOO_LONG),
    ],
)
@pytest.mark.parametrize("last", ["+22890123404;Yao", '+22890123404;"Yao"'])
def test_a_slip_costs_its_own_row(write: Write, slip: str, fault: str, last: str) -> None:
    file = write(f"phone;name\n+22890123401;Awa\n{slip}\n+22890123403;Efua\n{last}\n")
    found = faults(file)
    assert list(found) == [2, 3, 4, 5]
    assert found[3] in {fault, MISPLACED}
    assert [found[2], found[4], found[5]] == [None, None, None]


def test_a_slip_that_is_closed_much_later_takes_no_rows_in(write: Write) -> None:
    lines = "".join(f"+2289012{n:04d};Awa\n" for n in range(50))
    file = write(f'phone;name\n+22890999999;"Kofi\n{lines}+22890999998;Yao"\n')
    found = faults(file)
    assert [number for number, fault in found.items() if fault] == [2]
    assert len(found) == 52


def test_a_quotation_mark_within_a_value_is_a_letter(write: Write) -> None:
    _, rows = read(write('phone;name\n1;Awa "la grande"\n2;5" écran\n'))
    assert [values["name"] for *_, values in rows] == ['Awa "la grande"', '5" écran']


# --- pipes -----------------------------------------------------------------------------------------------------


def test_a_pipe_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_IN_MEMORY_BYTES", 1000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = TEXT + "".join(f"+2289012{n:04d};Awa\n" for n in range(500))
    writer = threading.Thread(target=pipe.write_bytes, args=(content.encode("cp1252"),))
    writer.start()
    shape, rows = read(pipe)
    writer.join()
    assert (shape.encoding, shape.example, len(rows)) == ("windows-1252", "Élodie", 502)


def test_an_endless_pipe_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_KEPT_LIMIT_BYTES", 5 << 20)
    with (
        pytest.raises(ContactFileError, match=r"/dev/zero: more than 5 MiB"),
        reading.opened(Path("/dev/zero"), needed=()),
    ):
        pass


# --- laws ------------------------------------------------------------------------------------------------------

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
ascii_word = st.text("abcXYZ 'é", max_size=6).map(str.strip)
value = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('",;\n'), max_size=8)


@law
@given(st.lists(st.tuples(value, value), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_a_csv_writer_wrote_is_read_as_it_was(
    tmp_path: Path, cells: list[tuple[str, str]], separator: str
) -> None:
    """Every value quoted; the phone number keeps the rows from being empty."""
    rows = [("phone", "a", "b"), *((f"+2289012{n:04d}", *pair) for n, pair in enumerate(cells))]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    file = tmp_path / "law.csv"
    file.write_text("\r\n".join(quoted), encoding="utf-8", newline="")
    _, found = read(file)
    assert [(values["a"], values["b"]) for *_, values in found] == [(a.strip(), b.strip()) for a, b in cells]


@law
@given(st.binary(max_size=200) | st.text('phone,;"\n\tabc+123', max_size=60).map(str.encode))
def test_any_bytes_are_rows_or_one_clear_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(content)
    try:
        with reading.opened(file, needed=(), phone_column=None) as contacts:
            numbers = [record.number for record in contacts.records]
    except ContactFileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other error is a find
        return
    assert numbers == sorted(set(numbers))
