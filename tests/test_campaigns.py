"""What a person does with campaigns: what is refused, in one clear line, and what an import reports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from unittest.mock import ANY

import pytest

from tests.support import START, House, house, inbound
from wamsg2.campaigns import Campaigns, ImportBrokenOffError, ImportReport
from wamsg2.contact_file.errors import ContactFileError
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.work import campaigning
from wamsg2.work.campaigning import CampaignError, Joined, Row
from wamsg2.work.judging import Refused

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"
Write = Callable[[str | bytes], Path]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: str | bytes) -> Path:
        file = tmp_path / "contacts.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return make


def reported(
    added: int = 0,
    *,
    present: Sequence[int] = (),
    repeated: Sequence[tuple[int, int]] = (),
    refused: Sequence[Refused] = (),
) -> ImportReport:
    """A report of a file of any shape."""
    return ImportReport(shape=ANY, added=added, present=list(present), repeated=list(repeated), refused=list(refused))


async def status(home: House, name: str = "spring") -> str:
    return str((await home.rows("SELECT status FROM campaigns WHERE name = ?", name))[0][0])


# --- create --------------------------------------------------------------------------------------------------


async def test_create_makes_a_draft(home: House) -> None:
    await home.campaigns.create("spring sale ☀", "Hello", None)
    rows = await home.rows("SELECT name, status, message_1, message_2, launched_at FROM campaigns")
    assert rows == [("spring sale ☀", "draft", "Hello", None, None)]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "two\nlines", " padded", "padded ", "tab\t"])
async def test_bad_names_are_refused(home: House, name: str) -> None:
    with pytest.raises(CampaignError, match="a name has 1 to 64 printable characters"):
        await home.campaigns.create(name, "Hello", None)
    assert await home.rows("SELECT count(*) FROM campaigns") == [(0,)]


@pytest.mark.parametrize(
    ("message_1", "message_2", "line"),
    [
        ("", None, "message 1: the text is empty"),
        ("Hello {{name", None, "message 1: double braces that do not pair"),
        ("Hello {{ }}", None, "message 1: empty variable {{}}"),
        ("Hello", "  ", "message 2: the text is empty"),
        ("Hello", "{{a}} }}", "message 2: double braces that do not pair"),
    ],
)
async def test_bad_texts_are_refused(home: House, message_1: str, message_2: str | None, line: str) -> None:
    with pytest.raises(CampaignError) as refused:
        await home.campaigns.create("spring", message_1, message_2)
    assert str(refused.value) == line


async def test_a_name_is_taken_once(home: House) -> None:
    await home.campaigns.create("spring", "Hello", None)
    with pytest.raises(CampaignError, match="there is a campaign named 'spring' already"):
        await home.campaigns.create("spring", "Other", None)
    assert await home.rows("SELECT message_1 FROM campaigns") == [("Hello",)]


# --- a campaign's life ---------------------------------------------------------------------------------------

ACTIONS = ("launch", "pause", "resume", "cancel")
ALLOWED = {
    "draft": {"launch": "running", "cancel": "cancelled"},
    "running": {"pause": "paused", "cancel": "cancelled"},
    "paused": {"resume": "running", "cancel": "cancelled"},
    "cancelled": {"cancel": "cancelled"},
}
LEADS_TO = {"draft": (), "running": ("launch",), "paused": ("launch", "pause"), "cancelled": ("cancel",)}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("stands", ALLOWED)
async def test_which_action_is_allowed_when(home: House, stands: str, action: str) -> None:
    await home.campaign(ONE, launch=False)
    for step in LEADS_TO[stands]:
        await getattr(home.campaigns, step)("spring")
    assert await status(home) == stands
    if action in ALLOWED[stands]:
        await getattr(home.campaigns, action)("spring")
        assert await status(home) == ALLOWED[stands][action]
        return
    with pytest.raises(CampaignError) as refused:
        await getattr(home.campaigns, action)("spring")
    line = str(refused.value)
    assert line.startswith(f"campaign 'spring' is {stands}: {action} needs a ")
    assert "\n" not in line
    assert await status(home) == stands


@pytest.mark.parametrize("action", ACTIONS)
async def test_no_such_campaign(home: House, action: str) -> None:
    with pytest.raises(CampaignError, match="there is no campaign named 'winter'"):
        await getattr(home.campaigns, action)("winter")


async def test_an_empty_campaign_is_not_launched(home: House) -> None:
    await home.campaigns.create("spring", "Hello", None)
    with pytest.raises(CampaignError, match="campaign 'spring' has no contacts: import some first"):
        await home.campaigns.launch("spring")
    assert await status(home) == "draft"


async def test_a_launch_makes_a_message_1_for_everyone(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigning, "CHUNK_ROWS", 7)
    phones = [f"+346{n:08d}" for n in range(30)]
    await home.campaign(*phones)
    assert await home.statuses() == [(phone, 1, "queued") for phone in phones]
    assert await home.rows("SELECT launched_at FROM campaigns") == [(int(START.timestamp() * 1000),)]


async def test_pause_holds_and_resume_goes_on(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.campaigns.pause("spring")
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.clock.advance(3600)
    assert await home.claim(5) == []
    assert await home.campaigns.resume("spring") == 0
    assert [(c.phone, int(c.step)) for c in await home.claim(5)] == [(ONE, 2), (TWO, 1)]


@pytest.mark.parametrize(("hours", "cancelled"), [(23, 0), (24, 0), (24.001, 1), (48, 1)])
async def test_resume_cancels_a_message_2_whose_reply_is_old(home: House, hours: float, cancelled: int) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.campaigns.pause("spring")
    home.clock.advance(hours * 3600)
    assert await home.campaigns.resume("spring") == cancelled
    rows = await home.rows("SELECT status, reason FROM messages WHERE step = 2")
    assert rows == [("cancelled", "reply_too_old") if cancelled else ("queued", None)]
    assert (await home.statuses())[1] == (TWO, 1, "queued")


async def test_cancel_cancels_both_steps_and_says_how_many(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigning, "CHUNK_ROWS", 2)
    await home.campaign(*(f"+3460000000{n}" for n in range(6)))
    await home.send_one()
    await home.receive(inbound("+34600000000", at=START, wa_id="A1"))
    assert await home.campaigns.cancel("spring") == 6
    assert [status for *_, status in await home.statuses()] == ["sent", *["cancelled"] * 6]
    rows = await home.rows("SELECT DISTINCT reason FROM messages WHERE status = 'cancelled'")
    assert rows == [("campaign cancelled",)]


# --- import --------------------------------------------------------------------------------------------------


async def test_an_import_reports_every_row(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello {{name}}", "Code {{code}}")
    file = write(
        "phone,name,code\n"
        f"{ONE},Ana,1\n"
        "600000002,Bo,2\n"
        f"{TWO},,3\n"
        "\n"
        f"{THREE},Cy,\n"
        f"{ONE},Ana again,4\n"
        "+34600000004,Di\n"
        "+34600000005,Ed,5,6\n"
        ' +34 600 00 00 06 ,"Fay, the last",7\n'
    )
    assert await home.campaigns.import_contacts("spring", file) == reported(
        added=2,
        present=[],
        repeated=[(7, 2)],
        refused=[
            Refused(3, "phone", "no country code (write +…, or set contacts.default_country)"),
            Refused(4, "name", "no value, but a message uses it"),
            Refused(6, "code", "no value, but a message uses it"),
            Refused(8, "code", "no value, but a message uses it"),
            Refused(9, "-", "4 columns, the header has 3"),
        ],
    )
    rows = await home.rows("SELECT c.phone, r.variables FROM recipients r JOIN contacts c ON c.id = r.contact_id")
    assert rows == [(ONE, '{"name":"Ana","code":"1"}'), ("+34600000006", '{"name":"Fay, the last","code":"7"}')]


async def test_an_import_again_finds_everyone_present(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello", None)
    file = write(f"phone\n{ONE}\n{TWO}\n")
    assert (await home.campaigns.import_contacts("spring", file)).added == 2
    assert await home.campaigns.import_contacts("spring", file) == reported(present=[2, 3])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("+5215512345678", "+525512345678"),
        ("+525512345678", "+5215512345678"),
        ("+5491123456789", "+541123456789"),
        ("+5511987654321", "+551187654321"),
    ],
)
async def test_national_spellings_are_one_contact(home: House, write: Write, first: str, second: str) -> None:
    await home.campaigns.create("spring", "Hello", None)
    report = await home.campaigns.import_contacts("spring", write(f"phone\n{first}\n{second}\n"))
    assert report == reported(added=1, repeated=[(3, 2)])
    assert await home.campaigns.import_contacts("spring", write(f"phone\n{second}\n")) == reported(present=[2])
    assert await home.rows("SELECT phone FROM contacts") == [(first,)]


async def test_a_bad_row_does_not_shadow_a_good_one_of_the_same_number(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello {{name}}", None)
    report = await home.campaigns.import_contacts("spring", write(f"phone,name\n{ONE},\n{ONE},Ana\n"))
    assert report == reported(added=1, refused=[Refused(2, "name", "no value, but a message uses it")])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbfphone,name\n+34600000001,Ana\n", id="BOM"),
        pytest.param("phone;name\n+34600000001;Ana\n", id="semicolons"),
        pytest.param('phone;name\n+34600000001;"Ana"\n', id="semicolons and quotes"),
        pytest.param("phone,name\r\n+34600000001,Ana\r\n", id="CRLF"),
        pytest.param("PHONE, name \n+34600000001,Ana", id="capitals, spaces, no last line end"),
        pytest.param("name,phone\nAna,+34600000001\n", id="another order"),
        pytest.param('"phone","name"\n"+34600000001","Ana"\n', id="everything quoted"),
        pytest.param("phone,name\n+34600000001,Ana\n,\n\n", id="empty rows at the end"),
    ],
)
async def test_shapes_of_files(home: House, write: Write, content: str | bytes) -> None:
    await home.campaigns.create("spring", "Hello {{name}}", None)
    assert await home.campaigns.import_contacts("spring", write(content)) == reported(added=1)
    assert await home.rows("SELECT variables FROM recipients") == [('{"name":"Ana"}',)]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param(";;\n \n", "the file is empty", id="nothing written"),
        pytest.param("phone,name\n,\n", "the file has a header and no rows", id="header only"),
        pytest.param(
            "number one,name\n+34600000001,Ana\n",
            "There is no column with phone numbers: name it phone, or say which it is with --phone-column. "
            "The file has: “number one”, name.",
            id="no phone",
        ),
        pytest.param(
            "phone,other\n+34600000001,x\n",
            "There is no column name, but a message uses it. The file has: phone, other.",
            id="none",
        ),
        pytest.param(
            "phone,name,name\n+34600000001,a,b\n",
            "The column name is there twice: rename or remove one. The file has: phone, name, name.",
            id="twice",
        ),
        pytest.param(
            b"phone,name\n+34600000001,Jos\x81\n",
            "line 2 is neither UTF-8 nor Windows-1252; save it as “CSV UTF-8” and import it again",
            id="no encoding",
        ),
        pytest.param(
            "phone,name\n+34600000001,José\n".encode() + b"+34600000002,Bego\xf1a\n",
            "line 3 is not UTF-8, but lines before it are; save it as “CSV UTF-8” and import it again",
            id="two encodings",
        ),
        pytest.param(
            'phone,"name\n+34600000001,Ana\n',
            'row 1: a quotation mark (") opens a value and none closes it',
            id="a slip in the header",
        ),
    ],
)
async def test_files_that_cannot_be_used(home: House, write: Write, content: str | bytes, line: str) -> None:
    await home.campaigns.create("spring", "Hello {{name}}", None)
    file = write(content)
    with pytest.raises(ContactFileError) as refused:
        await home.campaigns.import_contacts("spring", file)
    assert str(refused.value) == f"{file}: {line}"
    assert await home.rows("SELECT count(*) FROM recipients") == [(0,)]


async def test_a_file_that_is_not_there(home: House, tmp_path: Path) -> None:
    await home.campaigns.create("spring", "Hello", None)
    with pytest.raises(ContactFileError, match=r"none\.csv: No such file or directory"):
        await home.campaigns.import_contacts("spring", tmp_path / "none.csv")


async def test_a_text_that_would_be_too_long_is_refused_with_its_row(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello {{name}}", None)
    report = await home.campaigns.import_contacts("spring", write(f"phone,name\n{ONE},{'x' * 5000}\n"))
    assert [(r.row, r.column) for r in report.refused] == [(2, "-")]
    assert "the limit is 4096" in report.refused[0].reason


async def test_the_phone_is_no_variable(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello {{phone}}", None)
    with pytest.raises(ContactFileError, match=r"phone holds the phone numbers: a message cannot use \{\{phone\}\}"):
        await home.campaigns.import_contacts("spring", write(f"phone\n{ONE}\n"))


async def test_numbers_of_the_default_country(home: House, write: Write) -> None:
    campaigns = Campaigns(store=home.store, clock=home.clock, random=Random(5), default_country="ES")
    await campaigns.create("spring", "Hello", None)
    assert (await campaigns.import_contacts("spring", write("phone\n600 000 001\n"))).added == 1
    assert await home.rows("SELECT phone FROM contacts") == [(ONE,)]


async def test_an_import_into_a_running_campaign_joins(home: House, write: Write) -> None:
    await home.campaign(ONE)
    assert (await home.campaigns.import_contacts("spring", write(f"phone\n{ONE}\n{TWO}\n"))).added == 1
    assert await home.statuses() == [(ONE, 1, "queued"), (TWO, 1, "queued")]


@pytest.mark.parametrize("name", ["spring", "winter"])
async def test_an_import_that_is_refused_reads_no_file(home: House, tmp_path: Path, name: str) -> None:
    await home.campaign(ONE)
    await home.campaigns.cancel("spring")
    with pytest.raises(CampaignError, match=r"is cancelled: import needs|there is no campaign named 'winter'"):
        await home.campaigns.import_contacts(name, tmp_path / "none.csv")


async def test_a_large_import_in_chunks(home: House, write: Write) -> None:
    await home.campaigns.create("spring", "Hello", None)
    lines = "".join(f"+346{n:08d}\n" for n in range(1201))
    assert (await home.campaigns.import_contacts("spring", write(f"phone\n{lines}"))).added == 1201
    assert await home.rows("SELECT contacts FROM campaign_counts") == [(1201,)]


async def test_an_import_that_breaks_off_says_how_many_rows_are_in(
    home: House, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.campaigns.create("spring", "Hello", None)
    file = write("phone\n" + "".join(f"+346{n:08d}\n" for n in range(2500)))
    add_rows, calls = campaigning.add_rows, iter((True, True, False))

    def until_the_disk_is_full(tx: Tx, name: str, rows: Sequence[Row], now: datetime) -> list[Joined | None]:
        if not next(calls, False):
            raise StoreUnavailableError("the disk is full")
        return add_rows(tx, name, rows, now)

    monkeypatch.setattr(campaigning, "add_rows", until_the_disk_is_full)
    with pytest.raises(ImportBrokenOffError) as broken:
        await home.campaigns.import_contacts("spring", file)
    assert str(broken.value) == (
        "the disk is full: 2000 rows are in, the import broke off at row 2002; "
        "import the file again: rows that are in are skipped"
    )
    monkeypatch.setattr(campaigning, "add_rows", add_rows)
    assert (await home.campaigns.import_contacts("spring", file)).added == 500


async def test_an_import_whose_campaign_ends_meanwhile(
    home: House, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.campaign(ONE)
    file = write("phone\n" + "".join(f"+346{n:08d}\n" for n in range(2500)))
    add_rows = campaigning.add_rows

    def then_cancel(tx: Tx, name: str, rows: Sequence[Row], now: datetime) -> list[Joined | None]:
        joined = add_rows(tx, name, rows, now)
        campaigning.cancel(tx, name, now)
        return joined

    monkeypatch.setattr(campaigning, "add_rows", then_cancel)
    with pytest.raises(
        ImportBrokenOffError,
        match=r"campaign 'spring' is cancelled: .*: 1000 rows are in, the import broke off at row 1002$",
    ):
        await home.campaigns.import_contacts("spring", file)


async def test_an_import_that_is_stopped_says_what_may_be_in(
    home: House, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.campaigns.create("spring", "Hello", None)
    file = write("phone\n" + "".join(f"+346{n:08d}\n" for n in range(2500)))
    add_rows, calls = campaigning.add_rows, iter((False, True))

    def stopped(tx: Tx, name: str, rows: Sequence[Row], now: datetime) -> list[Joined | None]:
        if next(calls, True):
            raise asyncio.CancelledError
        return add_rows(tx, name, rows, now)

    monkeypatch.setattr(campaigning, "add_rows", stopped)
    with pytest.raises(ImportBrokenOffError, match=r"^stopped: 1000 to 2000 rows are in; import the file again"):
        await home.campaigns.import_contacts("spring", file)


async def test_a_large_file_with_a_fault_of_the_whole_adds_nobody(home: House, write: Write) -> None:
    await home.campaign(ONE)
    rows = "".join(f"+346{n:08d},é\n" for n in range(2500)).encode()
    with pytest.raises(ContactFileError, match="line 2502 is not UTF-8"):
        await home.campaigns.import_contacts("spring", write(b"phone,n\n" + rows + b"+34600000002,\xe9\n"))
    assert await home.statuses() == [(ONE, 1, "queued")]
