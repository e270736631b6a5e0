"""Every command as a person calls it: what it prints, how it ends, and what it leaves in the database."""

import asyncio
import csv
import errno
import json
import os
import shlex
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import click
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cli.conftest import (
    ADMIN_TOKEN,
    ANA,
    API_KEY,
    BRUNO,
    CHLOE,
    SECRETS,
    WEBHOOK_SECRET,
    CommandLine,
    Result,
    judged,
)
from tests.site import ROOT, Site, site
from tests.support import PROCESS_SECONDS
from wamsg2 import __version__, cli
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox
from wamsg2.store import export

#: A second, and what a busy machine adds.
SOON_SECONDS = 5.0
NOW_MS = 1_795_000_000_000
#: Of the webhook that a `site` registers.
SITE_SECRET = "s3cret"


# --- campaign create ------------------------------------------------------------------------------------------


def test_create_makes_a_draft_in_a_private_file(wamsg2: CommandLine) -> None:
    said = wamsg2("campaign", "create", "spring", "--message-1", "Hi {{name}}", "--message-2", "Here it is")
    assert said.out == "campaign 'spring' created; next: wamsg2 campaign import spring FILE.csv\n"
    rows = wamsg2.sql("SELECT name, status, message_1, message_2 FROM campaigns")
    assert rows == [("spring", "draft", "Hi {{name}}", "Here it is")]
    assert wamsg2.database.stat().st_mode & 0o777 == 0o600


def test_message_2_may_be_left_out(wamsg2: CommandLine) -> None:
    wamsg2("campaign", "create", "spring", "--message-1", "Hi")
    assert wamsg2.sql("SELECT message_2 FROM campaigns") == [(None,)]


def test_a_name_is_given_once(wamsg2: CommandLine) -> None:
    wamsg2("campaign", "create", "spring", "--message-1", "Hi")
    said = wamsg2("campaign", "create", "spring", "--message-1", "Another", code=1)
    assert said.err == "wamsg2: there is a campaign named 'spring' already\n"
    assert wamsg2.sql("SELECT message_1 FROM campaigns") == [("Hi",)]


@pytest.mark.parametrize("name", ["", " ", " spring", "spring ", "a\nb", "x" * 65])
def test_names_that_are_none(wamsg2: CommandLine, name: str) -> None:
    said = wamsg2("campaign", "create", name, "--message-1", "Hi", code=1)
    assert said.err == "wamsg2: a name has 1 to 64 printable characters\n"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["--message-1", " "], "message 1: the text is empty"),
        (["--message-1", "Hi {{}}"], "message 1: empty variable {{}}"),
        (["--message-1", "Hi", "--message-2", "{{name"], "message 2: double braces that do not pair"),
    ],
)
def test_texts_that_are_none(wamsg2: CommandLine, texts: list[str], reason: str) -> None:
    assert wamsg2("campaign", "create", "spring", *texts, code=1).err == f"wamsg2: {reason}\n"
    assert wamsg2.sql("SELECT count(*) FROM campaigns") == [(0,)]


@pytest.mark.parametrize("name", ["Frühling", "春のキャンペーン", "👍🏽 spring", "x" * 64, "O'Brien; DROP TABLE"])
def test_unicode_names(wamsg2: CommandLine, name: str) -> None:
    wamsg2("campaign", "create", name, "--message-1", "¡Hola, {{nombre}}! 👋")
    assert wamsg2("campaign", "import", name, wamsg2.csv("phone,nombre", f"{ANA},Begoña")).out == "1 contact added\n"
    wamsg2("campaign", "launch", name, "--yes")
    assert wamsg2("campaign", "show", name).out.startswith(f"{name}: running, 1 contacts\n")
    assert name in wamsg2("campaign", "list").out
    assert [c["name"] for c in wamsg2("campaign", "list", "--json").json] == [name]
    assert f'"{name}"' in wamsg2("campaign", "show", name, "--json").out
    assert wamsg2("contact", "show", ANA, "--json").json["messages"][0]["campaign"] == name
    wamsg2("campaign", "export", name, "größe.csv")
    assert ANA in (wamsg2.directory / "größe.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["spring sale", "O'Brien"])
def test_the_hint_after_create_can_be_pasted(wamsg2: CommandLine, name: str) -> None:
    said = wamsg2("campaign", "create", name, "--message-1", "Hi").out
    assert shlex.split(said.partition("next: ")[2]) == ["wamsg2", "campaign", "import", name, "FILE.csv"]


# --- campaign import ------------------------------------------------------------------------------------------


@pytest.fixture
def drafted(wamsg2: CommandLine) -> CommandLine:
    """With a draft that uses a variable."""
    wamsg2("campaign", "create", "spring", "--message-1", "Hi {{name}}", "--message-2", "More")
    return wamsg2


#: Row 3 has no name, row 4 no number, row 5 is row 2 again, row 6 is too short, row 7 has no name either.
BAD_ROWS = (
    "phone,name,town",
    f"{ANA},Ana,Lugo",
    "+34600000002,,Lugo",
    "+34 60O,Bo,",
    "+34 600-000-001,A,",
    "+34600000003",
    "+34600000004,Di,Lugo,Spain",
)


def test_import_takes_the_good_rows_and_groups_the_others(drafted: CommandLine) -> None:
    said = drafted("campaign", "import", "spring", drafted.csv(*BAD_ROWS), code=1)
    assert said.out.splitlines() == [
        "1 contact added",
        "1 row repeats the number of an earlier row (row 5)",
        "2 rows refused (rows 3, 6)",
        "  name: no value, but a message uses it",
        "1 row refused (row 4)",
        "  phone: not a phone number",
        "1 row refused (row 7)",
        "  4 columns, the header has 3",
    ]
    assert said.err == (
        "wamsg2: 4 rows refused; --refused FILE writes them to a file that can be mended and imported\n"
    )
    ((variables,),) = drafted.sql("SELECT variables FROM recipients")
    assert json.loads(variables) == {"name": "Ana", "town": "Lugo"}


def test_import_as_json(drafted: CommandLine) -> None:
    file = drafted.csv(*BAD_ROWS)
    drafted("campaign", "import", "spring", file, code=1)
    said = drafted("campaign", "import", "spring", file, "--json", code=1)
    assert said.json == {
        "rows": 6,
        "added": 0,
        "already_in_campaign": [2],
        "repeated_in_file": [{"row": 5, "first_row": 2}],
        "refused": [
            {"row": 3, "column": "name", "reason": "no value, but a message uses it"},
            {"row": 4, "column": "phone", "reason": "not a phone number"},
            {"row": 6, "column": "name", "reason": "no value, but a message uses it"},
            {"row": 7, "column": "-", "reason": "4 columns, the header has 3"},
        ],
        "encoding": "utf-8",
        "separator": ",",
        "phone_column": "phone",
    }


def test_refused_rows_come_back_mended(drafted: CommandLine) -> None:
    refused = drafted.directory / "à corriger.csv"
    said = drafted("campaign", "import", "spring", drafted.csv(*BAD_ROWS), "--refused", refused, code=1)
    assert said.err == f"wamsg2: 4 rows refused; mend them in {refused} and import that\n"
    written = refused.read_text(encoding="utf-8")
    assert written.splitlines() == [
        "\ufeffrefused row,refused column,refused value,refused because,phone,name,town",
        '3,name,,"no value, but a message uses it",+34600000002,,Lugo',
        "4,phone,+34 60O,not a phone number,+34 60O,Bo,",
        '6,name,,"no value, but a message uses it",+34600000003',
        '7,-,,"4 columns, the header has 3",+34600000004,Di,Lugo,Spain',
    ]
    mended = written.replace("+34600000002,,", "+34600000002,Cy,").replace("60O,Bo", "600000009,Bo")
    refused.write_text(mended.replace("+34600000003", "+34600000003,Ed").replace(",Spain", ""), encoding="utf-8")
    assert drafted("campaign", "import", "spring", refused).out == "4 contacts added\n"
    assert json.loads(drafted.sql("SELECT variables FROM recipients ORDER BY contact_id DESC")[0][0]) == {
        "name": "Di",
        "town": "Lugo",
    }


def test_rows_that_are_refused_again_have_their_new_reason_alone(drafted: CommandLine) -> None:
    first, second = drafted.directory / "first.csv", drafted.directory / "second.csv"
    drafted("campaign", "import", "spring", drafted.csv("phone;name", f"{ANA};"), "--refused", first, code=1)
    drafted("campaign", "import", "spring", first, "--refused", second, code=1)
    assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")
    assert second.read_text(encoding="utf-8").count("refused because") == 1


def test_refused_rows_do_not_take_the_place_of_the_file(drafted: CommandLine) -> None:
    file = drafted.csv(*BAD_ROWS)
    drafted("campaign", "import", "spring", file, "--refused", file.name, code=2)
    said = drafted("campaign", "import", "spring", file, "--refused", "no/where.csv", code=1)
    assert said.err == "wamsg2: no/where.csv: No such file or directory\n"
    assert drafted.sql("SELECT count(*) FROM recipients") == [(0,)]


def test_an_import_without_refusals_leaves_the_columns_alone(drafted: CommandLine) -> None:
    drafted("campaign", "import", "spring", drafted.csv("phone,name", f"{ANA},Ana"), "--refused", "none.csv")
    assert (drafted.directory / "none.csv").read_text(encoding="utf-8").count("\n") == 1


def test_the_encoding_and_the_column_are_said(drafted: CommandLine) -> None:
    (drafted.directory / "excel.csv").write_bytes("Téléphone;Name\n+22890123401;Élodie\n".encode("cp1252"))
    assert drafted("campaign", "import", "spring", "excel.csv").out.splitlines() == [
        "read as Windows-1252, for example “Élodie”",
        "  if that looks wrong, save the file as “CSV UTF-8”",
        "phone numbers from the column Téléphone",
        "1 contact added",
    ]
    said = drafted("campaign", "import", "spring", "excel.csv", "--json").json
    assert (said["encoding"], said["separator"]) == ("windows-1252", ";")


def test_two_columns_of_phone_numbers_are_a_question(drafted: CommandLine) -> None:
    file = drafted.csv("Téléphone;Mobile;Name", "22223401;90123402;Awa")
    said = drafted("campaign", "import", "spring", file, "--country", "tg", code=1)
    assert said.err == (
        f"wamsg2: {file}: Téléphone and Mobile may hold the phone numbers: say which with --phone-column. "
        "The file has: Téléphone, Mobile, Name.\n"
    )
    drafted("campaign", "import", "spring", file, "--country", "tg", "--phone-column", "mobile")
    assert drafted.sql("SELECT phone FROM contacts") == [("+22890123402",)]
    drafted("campaign", "import", "spring", file, "--country", "Togo", code=2)
    drafted("campaign", "import", "spring", file, "--phone-column", "Handy", code=1)


def test_standard_input(drafted: CommandLine) -> None:
    with (drafted.directory / "contacts.csv").open("w+b") as stream:
        stream.write(f"phone,name\n{ANA},Ana\n".encode())
        stream.seek(0)
        said = drafted("campaign", "import", "spring", "-", stdin=stream)
    assert said.out == "1 contact added\n"


def test_the_corrected_file_again(drafted: CommandLine) -> None:
    drafted("campaign", "import", "spring", drafted.csv(*BAD_ROWS), code=1)
    corrected = drafted.csv("phone,name", f"{ANA},Somebody else", f"{BRUNO},Bruno")
    said = drafted("campaign", "import", "spring", corrected)
    assert said.out.splitlines() == ["1 contact added", "1 row was in the campaign already (row 2)"]
    names = [json.loads(row[0])["name"] for row in drafted.sql("SELECT variables FROM recipients")]
    assert names == ["Ana", "Bruno"]


def test_a_long_list_of_refusals_is_cut(drafted: CommandLine) -> None:
    rows = [f"+34600{n:06d}," for n in range(30)] + [f"{ANA}{',x' * n}" for n in range(3, 23)]
    file = drafted.csv("phone,name", *rows)
    said = drafted("campaign", "import", "spring", file, code=1)
    lines = said.out.splitlines()
    assert lines[1:3] == ["30 rows refused (rows 2, 3, 4, 5, 6, …)", "  name: no value, but a message uses it"]
    assert len(lines) == 2 + 2 * 15
    assert lines[-1] == "6 rows refused for 6 other reasons"
    assert len(drafted("campaign", "import", "spring", file, "--json", code=1).json["refused"]) == 50


def test_national_numbers_with_a_default_country(drafted: CommandLine) -> None:
    file = drafted.csv("name;Phone", "Ana;600 00 00 01")
    said = drafted("campaign", "import", "spring", file, code=1)
    assert "1 row refused (row 2)\n  Phone: no country code" in said.out
    drafted.configure(contacts__default_country='"ES"')
    assert drafted("campaign", "import", "spring", file).out == "1 contact added\n"
    assert drafted.sql("SELECT phone FROM contacts") == [(ANA,)]


def test_all_that_is_wrong_with_the_columns_is_said_at_once(drafted: CommandLine) -> None:
    (drafted.directory / "bad.csv").write_text("nom;Ville;ville\nAwa;Lomé;\n", encoding="utf-8")
    assert drafted("campaign", "import", "spring", "bad.csv", code=1).err == (
        "wamsg2: bad.csv: Ville and ville are one name to a message: rename one. "
        "There is no column with phone numbers: name it phone, or say which it is with --phone-column. "
        "There is no column name, but a message uses it. The file has: nom, Ville, ville.\n"
    )
    assert drafted.sql("SELECT count(*) FROM recipients") == [(0,)]


def test_a_file_that_is_not_there(drafted: CommandLine) -> None:
    said = drafted("campaign", "import", "spring", "nowhere.csv", code=1)
    assert said.err == "wamsg2: nowhere.csv: No such file or directory\n"
    assert drafted("campaign", "import", "spring", ".", code=1).err == "wamsg2: .: Is a directory\n"


def test_who_is_imported_into_a_running_campaign_joins_at_once(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("campaign", "import", "spring", wamsg2.csv("phone", ANA, BRUNO))
    assert wamsg2.statuses() == {"queued": 2}


def test_nobody_is_imported_into_a_cancelled_campaign(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("campaign", "cancel", "spring", "--yes")
    said = wamsg2("campaign", "import", "spring", wamsg2.csv("phone", BRUNO), code=1)
    assert said.err == "wamsg2: campaign 'spring' is cancelled: import needs a draft or paused or running one\n"


# --- campaign launch ------------------------------------------------------------------------------------------


def test_launch_without_a_question(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO, CHLOE, launch=False)
    said = wamsg2("campaign", "launch", "spring", "--yes")
    assert said.out.splitlines() == [
        "campaign 'spring' is running: 3 contacts, about 0:00:03",
        "no daemon is running: nothing leaves until `wamsg2 serve`",
    ]
    assert wamsg2.statuses() == {"queued": 3}


def test_launch_asks_first(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO, launch=False)
    said = wamsg2("campaign", "launch", "spring", types="y\n")
    assert "Send Message 1 of 'spring' to 2 contacts, over 0:00:02? [y/N]: " in said.out
    assert wamsg2.statuses() == {"queued": 2}


@pytest.mark.parametrize("answer", ["n\n", "\n"], ids=["no", "enter"])
def test_a_launch_that_is_declined_launches_nothing(wamsg2: CommandLine, answer: str) -> None:
    wamsg2.campaign(ANA, launch=False)
    # The answer's own line break is the terminal's: here the question and the reason share a line.
    assert wamsg2("campaign", "launch", "spring", types=answer, code=1).err.strip() == "wamsg2: stopped"
    assert wamsg2.statuses() == {}
    assert wamsg2("campaign", "show", "spring", "--json").json["status"] == "draft"


def test_a_campaign_without_contacts_is_not_launched(drafted: CommandLine) -> None:
    said = drafted("campaign", "launch", "spring", "--yes", code=1)
    assert said.err == "wamsg2: campaign 'spring' has no contacts: import some first\n"
    assert drafted("campaign", "show", "spring", "--json").json["status"] == "draft"


def test_a_campaign_is_launched_once(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2("campaign", "launch", "spring", "--yes", code=1)
    assert said.err == "wamsg2: campaign 'spring' is running: launch needs a draft one\n"
    assert wamsg2.statuses() == {"queued": 1}


# --- campaign pause, resume, cancel ---------------------------------------------------------------------------


def test_pause_and_resume(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    assert wamsg2("campaign", "pause", "spring").out == "campaign 'spring' is paused\n"
    assert wamsg2("campaign", "show", "spring", "--json").json["status"] == "paused"
    assert wamsg2("status", "--json").json["queue"]["message_1"] == 1
    assert wamsg2("campaign", "resume", "spring").out.splitlines() == [
        "campaign 'spring' is running again: 1 Message 1 and 0 Message 2 in the queue",
        "no daemon is running: nothing leaves until `wamsg2 serve`",
    ]
    assert wamsg2("campaign", "show", "spring", "--json").json["status"] == "running"
    assert wamsg2.statuses() == {"queued": 1}


def test_cancel_cancels_what_is_queued(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    said = wamsg2("campaign", "cancel", "spring", "--yes")
    assert said.out == "campaign 'spring' is cancelled; 2 queued messages cancelled\n"
    assert wamsg2.sql("SELECT DISTINCT status, reason FROM messages") == [("cancelled", "campaign cancelled")]
    wamsg2("verify")


def test_a_cancellation_that_was_cut_off_is_finished_by_the_next(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    wamsg2.sql("UPDATE campaigns SET status = 'cancelled'")
    wamsg2("verify", code=1)
    assert wamsg2("campaign", "cancel", "spring", "--yes").out.endswith("; 2 queued messages cancelled\n")
    wamsg2("verify")


@pytest.mark.parametrize(
    ("before", "action", "refusal"),
    [
        ([], "pause", "draft: pause needs a running one"),
        ([], "resume", "draft: resume needs a paused one"),
        (["launch"], "resume", "running: resume needs a paused one"),
        (["launch", "pause"], "pause", "paused: pause needs a running one"),
        (["launch", "pause"], "launch", "paused: launch needs a draft one"),
        (["cancel"], "launch", "cancelled: launch needs a draft one"),
        (["launch", "cancel"], "pause", "cancelled: pause needs a running one"),
        (["launch", "pause", "cancel"], "resume", "cancelled: resume needs a paused one"),
    ],
)
def test_what_a_status_does_not_allow(wamsg2: CommandLine, before: list[str], action: str, refusal: str) -> None:
    wamsg2.campaign(ANA, launch=False)
    for each in before:
        wamsg2("campaign", each, "spring", *(["--yes"] if each in {"launch", "cancel"} else []))
    said = wamsg2("campaign", action, "spring", *(["--yes"] if action == "launch" else []), code=1)
    assert said.err == f"wamsg2: campaign 'spring' is {refusal}\n"


# --- campaign list, show, export ------------------------------------------------------------------------------


def test_list_and_show(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    wamsg2.campaign(ANA, name="autumn", launch=False)
    went_out(wamsg2, ANA)
    assert wamsg2("campaign", "list").out.splitlines() == [
        "spring               running    2 contacts, M1 1 out 1 queued 0 failed, 0 replied, M2 0 out 0 queued",
        "autumn               draft      1 contacts, M1 0 out 0 queued 0 failed, 0 replied, M2 0 out 0 queued",
    ]
    shown = wamsg2("campaign", "show", "spring").out.splitlines()
    messages = ["Message 1: 1 queued, 1 sent", "  Hello", "Message 2: none", "  More"]
    assert shown[:5] == ["spring: running, 2 contacts", *messages]
    assert shown[5].startswith("0 replied (0 interactions), 0 opted out; last window closes 20")

    listed = wamsg2("campaign", "list", "--json").json
    assert [c["name"] for c in listed] == ["spring", "autumn"]
    texts = {"message_1": "Hello", "message_2": "More"}
    assert wamsg2("campaign", "show", "spring", "--json").json == listed[0] | {"texts": texts}
    assert {"status": "running", "contacts": 2, "replied": 0}.items() <= listed[0].items()
    assert listed[0]["message_1"] == dict.fromkeys(
        ["queued", "sending", "sent", "delivered", "read", "failed", "cancelled", "uncertain"], 0
    ) | {"queued": 1, "sent": 1}


def test_a_list_of_none(wamsg2: CommandLine) -> None:
    wamsg2("contact", "opt-out", ANA)  # makes the database
    assert wamsg2("campaign", "list").out == ""
    assert wamsg2("campaign", "list", "--json").json == []


def test_export_to_a_file_and_to_stdout(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO, CHLOE)
    went_out(wamsg2, ANA)
    wamsg2("contact", "opt-out", BRUNO)
    file = wamsg2.directory / "out.csv"
    file.write_text("what was there before, and longer than a line\n" * 99, encoding="utf-8")
    assert wamsg2("campaign", "export", "spring", file).out == f"3 contacts written to {file}\n"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(r["phone"], r["opted_out"], r["message_1_status"], r["message_1_reason"]) for r in rows] == [
        (ANA, "no", "sent", ""),
        (BRUNO, "yes", "cancelled", "contact opted out"),
        (CHLOE, "no", "queued", ""),
    ]
    assert rows[0]["message_1_sent_at"].endswith("Z")
    said = wamsg2("campaign", "export", "spring", "-")
    assert list(csv.DictReader(said.out.splitlines())) == rows


def test_export_to_where_nothing_can_be_written(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2("campaign", "export", "spring", "no/such/place.csv", code=1)
    assert said.err == "wamsg2: no/such/place.csv: No such file or directory\n"


def test_an_export_of_no_campaign_touches_no_file(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("campaign", "export", "autumn", "out.csv", code=1)
    assert not (wamsg2.directory / "out.csv").exists()


def test_an_export_that_fails_leaves_the_file_as_it_was(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    file = wamsg2.directory / "out.csv"
    file.write_text("as it was", encoding="utf-8")

    async def failing(*_: object) -> AsyncIterator[Sequence[str]]:
        yield ("phone",)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    wamsg2.monkeypatch.setattr(export, "campaign", failing)
    before = set(wamsg2.directory.iterdir())
    assert wamsg2("campaign", "export", "spring", file, code=1).err == f"wamsg2: {file}: Input/output error\n"
    assert file.read_text(encoding="utf-8") == "as it was"
    assert set(wamsg2.directory.iterdir()) == before


def test_an_export_into_a_pipe_leaves_it_one(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    fifo = wamsg2.directory / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        wamsg2("campaign", "export", "spring", fifo)
        assert fifo.is_fifo()
        assert ANA.encode() in os.read(reader, 10_000)
    finally:
        os.close(reader)


def test_an_export_through_a_link_keeps_the_link(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    (wamsg2.directory / "elsewhere").mkdir()
    file, link = wamsg2.directory / "elsewhere" / "out.csv", wamsg2.directory / "link.csv"
    file.write_text("before", encoding="utf-8")
    link.symlink_to(file)
    wamsg2("campaign", "export", "spring", link)
    assert link.is_symlink()
    assert ANA in file.read_text(encoding="utf-8")


# --- status ---------------------------------------------------------------------------------------------------

#: As the contract shows them.
STATUS_KEYS = {
    "": [
        "status", "problems", "version", "uptime_seconds", "sender", "queue", "webhooks", "watch",
        "backup", "notifications", "deliveries", "campaigns",
    ],
    "sender": ["state", "reason", "rate_limit_seconds", "last_send_at"],
    "queue": ["message_1", "message_2", "sending", "uncertain", "oldest_due_seconds", "eta_seconds"],
    "webhooks": ["received", "duplicates", "refused", "unmatched", "suspected", "not_replies", "last_received_at",
                 "found_by_catch_up", "unknown_words"],
    "watch": ["device", "webhook", "catch_up"],
    "backup": ["made_at", "failed_at"],
}  # fmt: skip


def test_status_without_a_daemon(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    assert wamsg2("status").out.splitlines() == [
        "status     degraded",
        "sender     held (the daemon is not running), last send -",
        "queue      0 Message 2, 2 Message 1, 0 sending, 0 uncertain; 2 s to go",
        "webhooks   0 received, 0 duplicates, 0 refused, 0 unmatched, 0 suspected opt-outs, 0 found by asking",
        "backup     none was made yet",
        "problem    sending is held: the daemon is not running",
        "spring               running    2 contacts, M1 0 out 2 queued 0 failed, 0 replied, M2 0 out 0 queued",
    ]
    report = wamsg2("status", "--json").json
    assert (report["status"], report["version"], report["uptime_seconds"]) == ("degraded", __version__, 0.0)
    assert (report["sender"]["state"], report["sender"]["reason"]) == ("held", "the daemon is not running")
    for part, keys in STATUS_KEYS.items():
        assert list(report[part] if part else report) == keys
    assert report["campaigns"] == wamsg2("campaign", "list", "--json").json


@pytest.mark.parametrize("answer", [{"status": "ok"}, ["status"], "ok"])
async def test_status_beside_another_program_on_the_port(wamsg2: CommandLine, answer: object) -> None:
    async def status(_: web.Request) -> web.Response:
        return web.json_response(answer)

    await asyncio.to_thread(wamsg2.campaign, ANA)
    application = web.Application()
    application.router.add_get("/status", status)
    async with TestServer(application) as server:
        await asyncio.to_thread(wamsg2.configure, admin__port=str(server.port))
        said = await asyncio.to_thread(wamsg2, "status", "--json")
        assert said.json["sender"]["state"] == "held"
        assert "held" in (await asyncio.to_thread(wamsg2, "status")).out


# --- verify ---------------------------------------------------------------------------------------------------


def test_verify_of_a_sound_database(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    assert wamsg2("verify").out == "2 messages checked\nevery promise holds\n"
    assert wamsg2("verify", "--json").json == {"ok": True, "messages": {"message_1.queued": 2}, "violations": []}


def test_verify_finds_a_wrong_counter(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2.sql("UPDATE message_counts SET n = 7")
    wrong = "campaign 1 step 1 queued: counted 7, rows 1"
    said = wamsg2("verify", code=1)
    assert said.out == f"1 messages checked\ncounters: message counts differ from the rows: {wrong}\n"
    assert said.err == "wamsg2: 1 checks failed\n"
    said = wamsg2("verify", "--json", code=1)
    assert said.json == {
        "ok": False,
        "messages": {"message_1.queued": 1},
        "violations": [{"promise": "counters", "what": "message counts differ from the rows", "rows": [wrong]}],
    }


def test_verify_finds_a_broken_promise(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    wamsg2("verify")
    wamsg2.sql("UPDATE contacts SET opted_out = 1 WHERE phone = ?", BRUNO)
    said = wamsg2("verify", code=1)
    assert said.out.splitlines()[1:] == ["P3: a queued message to a contact who has opted out: message 2"]


# --- check ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def sandboxed(line: CommandLine, *, webhook: bool = True, **changes: str) -> AsyncIterator[Sandbox]:
    """Wassenger's stand-in, which the configuration names."""
    async with Sandbox(SandboxSettings(api_key=API_KEY)) as sandbox:
        line.configure(**{"wassenger__base_url": f'"{sandbox.base_url}"'} | changes)
        if webhook:
            sandbox.register_webhook(f"http://127.0.0.1:1/webhooks/wassenger?secret={WEBHOOK_SECRET}")
        yield sandbox


async def test_check_of_what_is_ready(wamsg2: CommandLine) -> None:
    async with sandboxed(wamsg2):
        said = await asyncio.to_thread(wamsg2, "check")
        assert said.out.splitlines() == [
            "ok  configuration  complete",
            f"ok  database       {wamsg2.database}: `wamsg2 serve` makes it",
            "ok  device         operative, session online",
            "ok  webhook        registered, active",
        ]
        report = (await asyncio.to_thread(wamsg2, "check", "--json")).json
    assert report["ok"] is True
    assert [check["name"] for check in report["checks"]] == ["configuration", "database", "device", "webhook"]
    assert all(check["ok"] and check["detail"] for check in report["checks"])


@pytest.mark.parametrize(
    ("webhook", "changes", "failed", "detail"),
    [
        (False, {}, ["webhook"], "none registered for …/webhooks/wassenger (events: message:in:new"),
        (True, {"webhook__path": '"/elsewhere"'}, ["webhook"], "none registered for …/elsewhere"),
        (True, {"wassenger__device": f'"{24 * "a"}"'}, ["device"], "device not found"),
        (True, {"wassenger__api_key": '"another"'}, ["device", "webhook"], "401"),
        (True, {"wassenger__api_key": ""}, ["configuration", "device", "webhook"], "wassenger.api_key: is required"),
        (True, {"webhook__secrets": "[]"}, ["configuration", "webhook"], "webhook.secrets: is required"),
        (True, {"database__path": '"no/such/wamsg2.db"'}, ["database"], "cannot be made there"),
    ],
)
async def test_check_of_what_is_not(
    wamsg2: CommandLine, *, webhook: bool, changes: dict[str, str], failed: list[str], detail: str
) -> None:
    async with sandboxed(wamsg2, webhook=webhook, **changes):
        said = await asyncio.to_thread(wamsg2, "check", "--json", code=1)
        assert [check["name"] for check in said.json["checks"] if not check["ok"]] == failed
        assert said.json["ok"] is False
        assert said.err == f"wamsg2: not ready: {', '.join(failed)}\n"
        said = await asyncio.to_thread(wamsg2, "check", code=1)
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("NO ")] == failed
    assert detail in said.out


@pytest.mark.parametrize("kind", ["webhook_refused", "webhooks_lost"])
async def test_check_says_what_the_daemon_noted_of_webhooks(wamsg2: CommandLine, kind: str) -> None:
    await asyncio.to_thread(wamsg2.campaign, ANA)
    wamsg2.sql(
        """INSERT INTO notifications (kind, subject, detail, state, raised_at, created_at)
           VALUES (?1, '', 'none was accepted', 'raised', ?2, ?2)""",
        *(kind, NOW_MS),
    )
    async with sandboxed(wamsg2):
        said = await asyncio.to_thread(wamsg2, "check", code=1)
        assert said.err == "wamsg2: not ready: arrivals\n"
        assert "\nNO  arrivals       none was accepted (noted " in said.out
        wamsg2.sql("UPDATE notifications SET cleared_at = raised_at")
        assert "arrivals" not in (await asyncio.to_thread(wamsg2, "check")).out


def test_check_makes_no_database(wamsg2: CommandLine) -> None:
    said = wamsg2("check", code=1)
    assert f"ok  database       {wamsg2.database}: `wamsg2 serve` makes it" in said.out
    assert not wamsg2.database.exists()


def test_check_without_a_key_asks_nothing(wamsg2: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wamsg2.cli.check.client_of", None)
    wamsg2.configure(wassenger__api_key="")
    assert wamsg2("check", code=1).out.splitlines()[2:] == [
        "NO  device         not asked: there is no wassenger.api_key",
        "NO  webhook        not asked: there is no wassenger.api_key",
    ]


def test_check_without_wassenger(wamsg2: CommandLine) -> None:
    said = wamsg2("check", code=1)
    assert said.out.splitlines()[2:] == [
        "NO  device         no answer: Connection refused",
        "NO  webhook        no answer: Connection refused",
    ]
    assert said.err == "wamsg2: not ready: device, webhook\n"


# --- catch-up -------------------------------------------------------------------------------------------------

NOTHING_FOUND = "found 0 messages and 0 receipts that no webhook had told\n"


def sent_long_ago(line: CommandLine, *phones: str) -> str:
    """A campaign whose Message 1s are `sent`, and nobody has told more of them; the reference of the first."""
    line.campaign(*phones)
    line.sql(
        """UPDATE messages SET status = 'sent', attempt = 1, text = 'Hello', attempted_at = created_at,
                  sent_at = created_at, look_up_at = created_at"""
    )
    ((reference,),) = line.sql("SELECT reference FROM messages WHERE id = 1")
    return str(reference)


async def accepts(sandbox: Sandbox, phone: str, reference: str) -> None:
    """A message of ours gets to its phone."""
    body = {"phone": phone, "message": "Hello", "device": sandbox.settings.device_id, "reference": reference}
    async with (
        aiohttp.ClientSession(headers={"Token": API_KEY}) as session,
        session.post(f"{sandbox.base_url}/messages", json=body) as response,
    ):
        assert response.status == 201
    await sandbox.settle()


async def test_catch_up_finds_what_no_webhook_told(wamsg2: CommandLine) -> None:
    async with sandboxed(wamsg2, webhook=False, wassenger__rate_limit_seconds="0") as sandbox:
        reference = await asyncio.to_thread(sent_long_ago, wamsg2, ANA, BRUNO)
        await accepts(sandbox, ANA, reference)
        await sandbox.inbound(ANA, "yes")
        await sandbox.inbound(BRUNO, "STOP")
        said = await asyncio.to_thread(wamsg2, "catch-up")
        assert said.out == "found 2 messages and 1 receipts that no webhook had told\n"
        assert wamsg2.sql("SELECT outcome FROM interactions ORDER BY contact_id") == [
            ("message_2_queued",),
            ("opt_out",),
        ]
        assert wamsg2.sql("SELECT step, status FROM messages WHERE contact_id = 1 ORDER BY step") == [
            (1, "read"),
            (2, "queued"),
        ]
        assert (await asyncio.to_thread(wamsg2, "catch-up")).out == NOTHING_FOUND
        assert wamsg2.sql("SELECT value FROM totals WHERE name = 'caught_up'") == [(3,)]
    report = (await asyncio.to_thread(wamsg2, "status", "--json")).json
    assert report["webhooks"]["found_by_catch_up"] == 3
    assert (await asyncio.to_thread(wamsg2, "verify")).out.endswith("every promise holds\n")


async def test_catch_up_as_json(wamsg2: CommandLine) -> None:
    async with sandboxed(wamsg2, webhook=False, wassenger__rate_limit_seconds="0") as sandbox:
        await asyncio.to_thread(sent_long_ago, wamsg2, ANA)
        await sandbox.inbound(ANA, "yes")
        said = await asyncio.to_thread(wamsg2, "catch-up", "--json")
        assert said.json == {"messages": 1, "receipts": 0, "problem": None}


async def test_catch_up_takes_what_a_webhook_told_for_known(wamsg2: CommandLine) -> None:
    async with sandboxed(wamsg2, webhook=False, wassenger__rate_limit_seconds="0") as sandbox:
        await asyncio.to_thread(sent_long_ago, wamsg2, ANA)
        await sandbox.inbound(ANA, "yes")
        await asyncio.to_thread(wamsg2, "catch-up")
        # As if the webhook had brought it, and not the command.
        wamsg2.sql("UPDATE events SET source = 'webhook'")
        wamsg2.sql("DELETE FROM marks")
        assert (await asyncio.to_thread(wamsg2, "catch-up")).out == NOTHING_FOUND
        assert wamsg2.sql("SELECT count(*) FROM interactions") == [(1,)]


def test_catch_up_without_wassenger(wamsg2: CommandLine) -> None:
    sent_long_ago(wamsg2, ANA)
    wamsg2.configure(wassenger__rate_limit_seconds="0")
    said = wamsg2("catch-up", code=1)
    assert said.out == NOTHING_FOUND
    assert said.err == "wamsg2: not all could be asked for: inbound messages: Connection refused\n"
    said = wamsg2("catch-up", "--json", code=1)
    assert said.json == {"messages": 0, "receipts": 0, "problem": "inbound messages: Connection refused"}


async def test_catch_up_with_a_wrong_key(wamsg2: CommandLine) -> None:
    async with sandboxed(wamsg2, webhook=False, wassenger__api_key='"another"'):
        await asyncio.to_thread(sent_long_ago, wamsg2, ANA)
        said = await asyncio.to_thread(wamsg2, "catch-up", code=1)
    assert said.err.startswith("wamsg2: not all could be asked for: inbound messages: HTTP 401")


def test_catch_up_asks_nobody_before_the_first_launch(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, launch=False)
    assert wamsg2("catch-up").out == NOTHING_FOUND


def test_catch_up_gives_up_what_a_restore_waits_for(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    assert wamsg2("catch-up", "--give-up", "--yes").out == "nothing waits for the list\n"
    wamsg2.sql("INSERT INTO marks VALUES ('inbound_owed', ?)", NOW_MS)
    assert "STOP" in wamsg2("catch-up", "--give-up", code=1).out
    assert wamsg2("catch-up", "--give-up", "--yes").out == (
        "restored messages no longer wait: each is sent once Wassenger proves that it was not\n"
    )
    wamsg2.sql("INSERT INTO marks VALUES ('inbound_owed', ?)", NOW_MS)
    assert wamsg2("catch-up", "--give-up", "--yes", "--json").json == {"gave_up": True}
    assert wamsg2.sql("SELECT * FROM marks WHERE name = 'inbound_owed'") == []


def test_catch_up_without_a_key(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2.configure(wassenger__api_key="")
    assert wamsg2("catch-up", code=1).err.startswith("wamsg2: wassenger.api_key: is required")


# --- contact --------------------------------------------------------------------------------------------------


def test_contact_show(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2.campaign(ANA, name="autumn")
    went_out(wamsg2, ANA)
    wamsg2.sql(
        """INSERT INTO interactions (contact_id, campaign_id, type, outcome, text, wa_id, reply_at, written_at,
                                     received_at)
           VALUES (1, 1, 'text', 'opt_out', 'STOP it', 'w1', ?1, ?1, ?1)""",
        NOW_MS,
    )
    lines = wamsg2("contact", "show", "+34 600-000-001").out.splitlines()
    assert lines[0] == ANA
    assert [line.split()[:6] for line in lines[1:3]] == [
        ["spring", "Message", "1", "sent", "id", "1"],
        ["autumn", "Message", "1", "sent", "id", "2"],
    ]
    assert lines[3].split()[:3] == ["spring", "text", "opt_out"]
    said = wamsg2("contact", "show", ANA, "--json")
    assert said.json["phone"] == ANA
    assert [m["status"] for m in said.json["messages"]] == ["sent", "sent"]
    assert [(i["type"], i["outcome"]) for i in said.json["interactions"]] == [("text", "opt_out")]
    assert "STOP it" not in said.out  # their words are nobody's business here


def test_a_contact_by_another_spelling_of_the_number(wamsg2: CommandLine) -> None:
    wamsg2.campaign("+5215512345678")
    assert wamsg2("contact", "show", "+52 55 1234 5678").out.startswith("+5215512345678\n")


def test_opt_out_and_in(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    wamsg2.campaign(ANA, name="autumn")
    assert wamsg2("contact", "opt-out", ANA).out == "opted out; 2 queued messages cancelled\n"
    assert wamsg2("contact", "opt-out", ANA).out == "opted out; 0 queued messages cancelled\n"
    lines = wamsg2("contact", "show", ANA).out.splitlines()
    assert lines[0] == f"{ANA}  (opted out)"
    assert lines[1].endswith("(contact opted out)")
    assert wamsg2.statuses() == {"cancelled": 2, "queued": 1}

    assert wamsg2("contact", "opt-in", ANA, "--yes").out == "opted in\n"
    assert wamsg2("contact", "show", ANA, "--json").json["opted_out"] is False
    assert wamsg2.statuses() == {"cancelled": 2, "queued": 1}  # what is over stays over
    wamsg2("verify")


def test_a_number_in_no_campaign_can_be_opted_out(wamsg2: CommandLine) -> None:
    wamsg2("contact", "opt-out", ANA)
    wamsg2.campaign(ANA, BRUNO)
    assert wamsg2.sql("SELECT status, reason FROM messages ORDER BY contact_id") == [
        ("cancelled", "contact opted out"),
        ("queued", None),
    ]


@pytest.mark.parametrize("action", ["show", "opt-in"])
def test_a_contact_that_is_not_there(wamsg2: CommandLine, action: str) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2("contact", action, BRUNO, code=1)
    assert said.err == "wamsg2: there is no contact with this number\n"


@pytest.mark.parametrize("action", ["show", "opt-out", "opt-in"])
@pytest.mark.parametrize("number", ["600000001", "+34 6OO OOO OO1", "+34600", ""])
def test_what_is_not_a_number_is_not_repeated(wamsg2: CommandLine, action: str, number: str) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2("contact", action, number, code=1)
    assert said.err.startswith("wamsg2: PHONE: ")
    assert not number or number not in said.err
    assert wamsg2.sql("SELECT count(*) FROM contacts") == [(1,)]


# --- message resolve ------------------------------------------------------------------------------------------


def went_out(line: CommandLine, phone: str) -> None:
    """Make the Message 1 of a contact one that was sent now."""
    line.sql(
        """UPDATE messages SET status = 'sent', attempt = 1, text = 'Hello', attempted_at = m.created_at,
                  sent_at = m.created_at
           FROM (SELECT id, created_at FROM messages) m
           WHERE m.id = messages.id AND contact_id = (SELECT id FROM contacts WHERE phone = ?)""",
        phone,
    )


def doubted(line: CommandLine) -> None:
    """Make every Message 1 one that may have been accepted."""
    line.sql(
        """UPDATE messages SET status = 'uncertain', doubts = 1, attempt = 1, text = 'Hello',
                  attempted_at = created_at, uncertain_since = created_at, look_up_at = created_at,
                  reason = 'no answer'"""
    )


@pytest.mark.parametrize(("resolution", "status"), [("sent", "sent"), ("retry", "queued"), ("fail", "failed")])
def test_resolve(wamsg2: CommandLine, resolution: str, status: str) -> None:
    wamsg2.campaign(ANA, BRUNO)
    doubted(wamsg2)
    assert wamsg2("status", "--json").json["queue"]["uncertain"] == 2
    assert wamsg2("message", "resolve", "1", resolution, "--yes").out == f"message 1 is {status}\n"
    assert wamsg2.statuses() == {status: 1, "uncertain": 1}
    assert bool(wamsg2.sql("SELECT sent_at FROM messages WHERE id = 1")[0][0]) is (resolution == "sent")
    wamsg2("verify")


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (["contact", "opt-out", ANA], "contact opted out"),
        (["campaign", "cancel", "spring", "--yes"], "campaign cancelled"),
    ],
)
def test_what_nobody_wants_any_more_is_not_tried_again(wamsg2: CommandLine, before: list[str], reason: str) -> None:
    wamsg2.campaign(ANA)
    doubted(wamsg2)
    wamsg2(*before)
    assert wamsg2("message", "resolve", "1", "retry", "--yes").out == "message 1 is cancelled\n"
    assert wamsg2.sql("SELECT reason FROM messages") == [(reason,)]
    wamsg2("verify")


@pytest.mark.parametrize(
    ("resolution", "outcome", "count"),
    [("sent", "message_2_queued", 2), ("retry", "no_recent_message_1", 1), ("fail", "no_recent_message_1", 1)],
)
def test_a_reply_that_waited_is_decided(wamsg2: CommandLine, resolution: str, outcome: str, count: int) -> None:
    wamsg2.campaign(ANA)
    doubted(wamsg2)
    wamsg2.sql(
        """INSERT INTO interactions (contact_id, campaign_id, message_id, type, outcome, text, wa_id, reply_at,
                                     written_at, received_at)
           SELECT contact_id, campaign_id, id, 'text', 'waiting_for_message_1', 'yes', 'w1', attempted_at + 1,
                  attempted_at + 1, attempted_at + 1 FROM messages"""
    )
    wamsg2("message", "resolve", "1", resolution, "--yes")
    assert wamsg2.sql("SELECT outcome FROM interactions") == [(outcome,)]
    assert wamsg2.sql("SELECT count(*) FROM messages") == [(count,)]
    wamsg2("verify")


def test_only_a_doubt_can_be_resolved(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2("message", "resolve", "1", "sent", code=1)
    assert said.err == "wamsg2: message 1 is queued: only an uncertain one can be resolved\n"
    assert wamsg2("message", "resolve", "2", "sent", code=1).err == "wamsg2: there is no message 2\n"
    doubted(wamsg2)
    wamsg2("message", "resolve", "1", "fail")
    assert "message 1 is failed" in wamsg2("message", "resolve", "1", "retry", code=1).err
    assert wamsg2.statuses() == {"failed": 1}


def test_resolve_of_an_enormous_id(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("message", "resolve", "9" * 30, "sent", code=2)


# --- what is the same for all -----------------------------------------------------------------------------------

NEED_A_CAMPAIGN = (
    ["campaign", "import", "NAME", "contacts.csv"],
    ["campaign", "launch", "NAME", "--yes"],
    ["campaign", "launch", "NAME"],
    ["campaign", "pause", "NAME"],
    ["campaign", "resume", "NAME"],
    ["campaign", "cancel", "NAME"],
    ["campaign", "show", "NAME"],
    ["campaign", "show", "NAME", "--json"],
    ["campaign", "export", "NAME", "-"],
)
NEED_A_DATABASE = (
    *NEED_A_CAMPAIGN,
    ["campaign", "list"],
    ["status"],
    ["verify"],
    ["contact", "show", ANA],
    ["contact", "opt-in", ANA],
    ["message", "list"],
    ["message", "show", "1"],
    ["message", "resolve", "1", "sent"],
    ["interaction", "list"],
    ["interaction", "assign", "1", ANA],
    ["catch-up"],
    ["catch-up", "--json"],
)


@pytest.mark.parametrize("arguments", NEED_A_CAMPAIGN, ids=" ".join)
@pytest.mark.parametrize("name", ["autumn", "Spring", "größer 👍"])
def test_an_unknown_campaign(wamsg2: CommandLine, arguments: list[str], name: str) -> None:
    wamsg2.campaign(ANA)
    said = wamsg2(*(name if a == "NAME" else a for a in arguments), code=1)
    assert said.err == f"wamsg2: there is no campaign named {name!r}\n"
    assert said.out == ""


@pytest.mark.parametrize("arguments", NEED_A_DATABASE, ids=" ".join)
def test_no_database_is_made_where_one_is_needed(wamsg2: CommandLine, arguments: list[str]) -> None:
    assert wamsg2(*arguments, code=1).err == f"wamsg2: {wamsg2.database}: no such database\n"
    assert not wamsg2.database.exists()


@pytest.mark.parametrize("arguments", [["verify"], ["status"], ["campaign", "list"], ["contact", "opt-out", ANA]])
def test_a_file_that_is_no_database(wamsg2: CommandLine, arguments: list[str]) -> None:
    wamsg2.database.write_text("phone,name\n" * 500, encoding="utf-8")
    assert wamsg2(*arguments, code=1).err == f"wamsg2: {wamsg2.database}: file is not a database\n"


def test_a_database_of_a_newer_version(wamsg2: CommandLine) -> None:
    with closing(sqlite3.connect(wamsg2.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "schema version 99" in wamsg2("campaign", "list", code=1).err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["campaign"],
        ["campaign", "nonsense"],
        ["campaign", "create"],
        ["campaign", "create", "spring"],
        ["campaign", "create", "spring", "--message-1"],
        ["campaign", "import", "spring"],
        ["campaign", "launch", "spring", "autumn"],
        ["campaign", "pause", "spring", "--json"],
        ["campaign", "export", "spring"],
        ["contact", "show"],
        ["message", "resolve", "1"],
        ["message", "resolve", "one", "sent"],
        ["message", "resolve", "1", "maybe"],
        ["serve", "--log-level", "loud"],
        ["status", "now"],
        ["--config"],
        ["status", "--config"],
        ["--config", "."],
    ],
    ids=" ".join,
)
def test_wrong_usage(wamsg2: CommandLine, arguments: list[str]) -> None:
    wamsg2(*arguments, code=2)
    assert not wamsg2.database.exists()


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, (*path, name))


COMMANDS = list(_commands(cli.cli))


def test_every_command_of_the_contract_is_there() -> None:
    actions = ("create", "import", "launch", "pause", "resume", "cancel", "list", "show", "export")
    alone = ("serve", "demo", "sandbox", "check", "status", "catch-up", "verify", "contact")
    named = {(name,) for name in alone} | {("campaign", action) for action in actions} | {("message", "resolve")}
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(wamsg2: CommandLine, path: tuple[str, ...]) -> None:
    wamsg2.config.write_text("nonsense", encoding="utf-8")  # help needs no configuration
    said = wamsg2(*path, "--help")
    assert said.out.startswith(f"Usage: {' '.join(('wamsg2', *path))} ")


def test_version(wamsg2: CommandLine) -> None:
    assert wamsg2("--version").out == f"wamsg2, version {__version__}\n"


# --- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '[webhook]\nprot = 1\nsecrets = ["s3cret-nobody-may-see"]',
            "webhook.prot: unknown key, did you mean webhook.port?",
        ),
        ('[wassenger]\ndevice = "abc"\napi_key = "k3y-nobody-may-see"', "wassenger.device: must be a device id"),
        ('[wassenger]\napi_key = "k3y-nobody-may-see "', "wassenger.api_key: must not contain whitespace"),
        ('wassenger = "k3y-nobody-may-see"', "wassenger: must be a section, [wassenger]"),
        ("[message_2]\nreply_window_hours = 0", "message_2.reply_window_hours: "),
        ('[admin]\nhost = "0.0.0.0"', "admin.token: is required"),
        ('[contacts]\ndefault_country = "Spain"', "contacts.default_country: must be empty or"),
        ('[admin]\ntoken = "t0ken-nobody-may-see', "config.toml: is not valid TOML"),
    ],
)
@pytest.mark.parametrize("arguments", [["status"], ["serve"], ["check"], ["campaign", "list"]], ids=" ".join)
def test_bad_configuration(wamsg2: CommandLine, line: str, said: str, arguments: list[str]) -> None:
    wamsg2.config.write_text(line, encoding="utf-8")
    assert wamsg2(*arguments, code=1).err.startswith(f"wamsg2: {said}")


def test_bad_environment(wamsg2: CommandLine) -> None:
    wamsg2.monkeypatch.setenv("WAMSG2_ADMIN__PORT", "many")
    said = wamsg2("status", code=1).err
    assert said.startswith("wamsg2: admin.port: ")
    assert said.endswith("(environment variable WAMSG2_ADMIN__PORT)\n")


def test_several_problems_are_said_at_once(wamsg2: CommandLine) -> None:
    wamsg2.config.write_text("[admin]\nport = -1\n[database]\npaht = 'x'\n", encoding="utf-8")
    assert cli.run(["status"]) == 1
    said = wamsg2.capsys.readouterr().err
    assert "admin.port: " in said
    assert "database.paht: unknown key, did you mean database.path?" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "FILE", "campaign", "list"],
        ["--config=FILE", "campaign", "list"],
        ["campaign", "--config", "FILE", "list"],
        ["campaign", "--config=FILE", "list"],
        ["campaign", "list", "--config", "FILE"],
        ["campaign", "list", "--config=FILE"],
        ["campaign", "list", "--config", "FILE", "--json"],
    ],
    ids=" ".join,
)
def test_config_stands_anywhere(wamsg2: CommandLine, arguments: list[str]) -> None:
    wamsg2.campaign(ANA, launch=False)
    other = wamsg2.config.rename(wamsg2.directory / "größer and elsewhere.toml")
    wamsg2.config.write_text("nonsense", encoding="utf-8")
    assert "spring" in wamsg2(*(a.replace("FILE", str(other)) for a in arguments)).out


@pytest.mark.parametrize(
    "arguments", [["--config", "no.toml", "status"], ["status", "--config=no.toml"]], ids=" ".join
)
def test_a_configuration_that_is_not_there(wamsg2: CommandLine, arguments: list[str]) -> None:
    assert wamsg2(*arguments, code=1).err == "wamsg2: no.toml: no such configuration file\n"


def test_what_stands_behind_two_hyphens_is_no_option(wamsg2: CommandLine) -> None:
    wamsg2("campaign", "create", "--message-1", "Hi", "--", "--config=x")
    assert wamsg2.sql("SELECT name FROM campaigns") == [("--config=x",)]


def test_flag_before_environment_before_file(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, launch=False)
    elsewhere = wamsg2.directory / "elsewhere.toml"
    elsewhere.write_text(f'database.path = "{wamsg2.directory / "other.db"}"', encoding="utf-8")
    wamsg2.monkeypatch.setenv("WAMSG2_CONFIG", str(elsewhere))
    assert "other.db: no such database" in wamsg2("campaign", "list", code=1).err
    assert "spring" in wamsg2("campaign", "list", "--config", wamsg2.config).out
    wamsg2.monkeypatch.setenv("WAMSG2_DATABASE__PATH", str(wamsg2.directory / "third.db"))
    assert "third.db: no such database" in wamsg2("campaign", "list", "--config", wamsg2.config, code=1).err


# --- serve ------------------------------------------------------------------------------------------------------


def test_serve_names_what_is_missing(wamsg2: CommandLine) -> None:
    wamsg2.configure(wassenger__api_key="", wassenger__device="", webhook__secrets="")
    # A line per key: they are all to be set.
    assert cli.run(["serve"]) == 1
    said = wamsg2.capsys.readouterr()
    lines = said.err.removeprefix("wamsg2: ").splitlines()
    assert [line.split(":")[0] for line in lines] == ["wassenger.api_key", "wassenger.device", "webhook.secrets"]
    assert "WAMSG2_WASSENGER__API_KEY" in lines[0]
    assert said.out == ""
    assert not wamsg2.database.exists()


@pytest.mark.parametrize("key", ["wassenger.api_key", "wassenger.device", "webhook.secrets"])
def test_serve_without_one_key(wamsg2: CommandLine, key: str) -> None:
    wamsg2.configure(**{key.replace(".", "__"): ""})
    assert wamsg2("serve", code=1).err.startswith(f"wamsg2: {key}: is required to serve")


# --- beside a running daemon --------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("WAMSG2_", "WASSENGER_"))}


async def called(made: Site, *arguments: str, code: int = 0) -> Result:
    """Run a command as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "wamsg2", *arguments, "--config", str(made.config)),
        cwd=ROOT,
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PROCESS_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return judged(Result(process.returncode, out.decode(), err.decode()), code, (*SECRETS, SITE_SECRET))


@asynccontextmanager
async def serving(directory: Path, **changes: str) -> AsyncIterator[tuple[Site, Sandbox]]:
    """`wamsg2 serve`, with the sandbox behind it; at the end it stops as it is asked to, and has told nothing."""
    async with (
        Sandbox(SandboxSettings(api_key=API_KEY)) as sandbox,
        site(
            directory,
            sandbox,
            webhook__signing_secrets=f'["{WEBHOOK_SECRET}"]',
            admin__token=f'"{ADMIN_TOKEN}"',
            **changes,
        ) as made,
    ):
        log = directory / "daemon.log"
        with log.open("wb") as stream:
            daemon = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "wamsg2", "serve", "--config", str(made.config)),
                cwd=ROOT,
                env=_environment(),
                stdout=stream,
                stderr=stream,
            )
        made.processes.append(daemon)
        await made.wait_ready(daemon)
        assert daemon.returncode is None, log.read_text(encoding="utf-8")
        yield made, sandbox
        daemon.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PROCESS_SECONDS):
            assert await daemon.wait() == 0
        written = log.read_text(encoding="utf-8")
        events = [json.loads(line)["event"] for line in written.splitlines()]
        assert (events[0], events[-1]) == ("daemon.started", "daemon.stopped")
        assert not [secret for secret in (*SECRETS, SITE_SECRET, ANA[1:], BRUNO[1:]) if secret in written]


async def test_a_running_daemon_acts_on_commands(tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(f"phone,name\n{ANA},Ana\n{BRUNO},Bruno\n", encoding="utf-8")
    async with serving(tmp_path) as (made, sandbox):
        await called(made, "campaign", "create", "spring", "--message-1", "Hi {{name}}", "--message-2", "More")
        await called(made, "campaign", "import", "spring", str(contacts))
        await called(made, "campaign", "launch", "spring", "--yes")
        out = "SELECT count(*) FROM messages WHERE status IN ('sent', 'delivered', 'read')"
        await made.wait_for(out, 2)
        ((milliseconds,),) = await made.rows(
            "SELECT max(m.attempted_at) - g.launched_at FROM messages m JOIN campaigns g ON g.id = m.campaign_id"
        )
        assert milliseconds < SOON_SECONDS * 1000
        assert {(m.phone, m.message) for m in sandbox.accepted} == {(ANA, "Hi Ana"), (BRUNO, "Hi Bruno")}
        assert len(sandbox.accepted) == 2

        # Who is opted out by hand gets no answer; the other one does.
        await called(made, "contact", "opt-out", ANA)
        await sandbox.inbound(ANA, "yes")
        await sandbox.inbound(BRUNO, "yes")
        await made.wait_for("SELECT count(*) FROM interactions", 2)
        await made.wait_for(out, 3)
        assert [m.phone for m in sandbox.accepted if m.message == "More"] == [BRUNO]
        said = await called(made, "verify", "--json")
        assert said.json["ok"] is True


async def test_status_of_a_running_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path) as (made, _):
        report = (await called(made, "status", "--json")).json
        assert (report["status"], report["version"]) == ("ok", __version__)
        assert (report["sender"]["state"], report["sender"]["reason"]) == ("idle", None)
        assert report["uptime_seconds"] > 0
        for part, keys in STATUS_KEYS.items():
            assert list(report[part] if part else report) == keys
        lines = (await called(made, "status")).out.splitlines()
        assert lines[:2] == ["status     ok", "sender     idle, last send -"]

        # One daemon for a database.
        said = await called(made, "serve", code=1)
        assert "another wamsg2 daemon" in said.err


async def test_a_running_daemon_acts_on_what_catch_up_finds(tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(f"phone\n{ANA}\n", encoding="utf-8")
    never = {"watch__catch_up_seconds": "0", "watch__webhook_seconds": "0"}
    async with serving(tmp_path, **never) as (made, sandbox):
        await called(made, "campaign", "create", "spring", "--message-1", "Hi", "--message-2", "More")
        await called(made, "campaign", "import", "spring", str(contacts))
        await called(made, "campaign", "launch", "spring", "--yes")
        await made.wait_for("SELECT count(*) FROM messages WHERE status = 'read'", 1)
        await sandbox.settle()
        for webhook_id in sandbox._postman.webhooks:
            sandbox.disable_webhook(webhook_id)
        await sandbox.inbound(ANA, "yes")
        await sandbox.settle()
        assert await made.rows("SELECT count(*) FROM interactions") == [(0,)]
        said = await called(made, "catch-up", "--json")
        assert (said.json["messages"], said.json["problem"]) == (1, None)
        await made.wait_for("SELECT count(*) FROM messages WHERE step = 2 AND status = 'sent'", 1)
        assert [m.message for m in sandbox.accepted] == ["Hi", "More"]
        report = (await called(made, "status", "--json")).json
        assert report["webhooks"]["found_by_catch_up"] == 1
        assert report["watch"]["device"]["ok"] is True
        assert report["watch"]["webhook"] is None
        assert report["problems"] == []
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.post(made.webhook_url + "x", data=b"{}") as response:
                    assert response.status == 401
        (problem,) = (await called(made, "status", "--json")).json["problems"]
        assert problem.startswith("webhook: 3 requests were refused for their secret or signature")
        for webhook_id in sandbox._postman.webhooks:
            sandbox.enable_webhook(webhook_id)
        await sandbox.inbound(BRUNO, "hello")
        await sandbox.settle()
        assert (await called(made, "status", "--json")).json["problems"] == []
        assert (await called(made, "verify", "--json")).json["ok"] is True
