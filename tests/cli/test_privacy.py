"""`wamsg2 contact export`, `forget` and `remember`: what they print, how they end, what they leave in the files."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import ANA, BRUNO, CommandLine
from tests.support import readable
from wamsg2 import privacy

TEXT = "nobody's business"


@pytest.fixture
def line(wamsg2: CommandLine) -> CommandLine:
    """ANA and BRUNO are in a campaign, and ANA wrote something half of which is an emoji."""
    wamsg2("campaign", "create", "spring", "--message-1", "Hi {{name}}")
    wamsg2("campaign", "import", "spring", wamsg2.csv("phone,name", f"{ANA},Begoña", f"{BRUNO},Bruno"))
    wamsg2("campaign", "launch", "spring", "--yes")
    wamsg2.sql(
        """INSERT INTO events (identity, name, result, source, body, received_at)
           VALUES (x'01', 'message:in:new', 'accepted', 'webhook', ?, 5)""",
        json.dumps({"data": {"body": f"{TEXT} \ud83d", "fromNumber": ANA}}).encode(),
    )
    wamsg2.sql(
        """INSERT INTO interactions (event_id, contact_id, type, outcome, text, wa_id, sender_phone, reply_at,
                                     written_at, received_at)
           VALUES (1, 1, 'text', 'no_recent_message_1', ?, 'w1', ?, 5, 5, 5)""",
        TEXT,
        ANA,
    )
    return wamsg2


def in_files(line: CommandLine, *words: str) -> set[str]:
    files = readable(line.directory.glob("wamsg2.db*"))
    return {word for word in words if word.encode() in files}


# --- export --------------------------------------------------------------------------------------------------


def test_export(line: CommandLine) -> None:
    everything = line("contact", "export", "+34 600 000 001").json
    assert everything["phone"] == ANA
    assert everything["campaigns"][0]["variables"] == {"name": "Begoña"}
    assert everything["interactions"][0]["text"] == TEXT
    assert everything["events"][0]["body"]["data"]["body"] == f"{TEXT} \ud83d"


def test_export_into_a_file_that_only_its_owner_can_read(line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ana.json"
    file.touch(mode=0o644)
    assert line("contact", "export", ANA, "--output", file).out == f"written to {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text(encoding="utf-8"))["phone"] == ANA
    missing = tmp_path / "missing" / "ana.json"
    assert line("contact", "export", ANA, "--output", missing, code=1).err.endswith("No such file or directory\n")


def test_export_of_nobody(line: CommandLine) -> None:
    assert line("contact", "export", "+34600000009", code=1).err == "wamsg2: nothing is stored of this number\n"
    line("contact", "export", "nonsense", code=1)


# --- forget --------------------------------------------------------------------------------------------------


def test_forget(line: CommandLine) -> None:
    assert in_files(line, "600000001", "Begoña", TEXT) == {"600000001", "Begoña", TEXT}
    said = line("contact", "forget", ANA, "--yes").out.splitlines()
    assert said[0].startswith("forgotten: 1 interactions and 1 raw events emptied, 0 other mentions blotted out; ")
    assert said[0].endswith("; 1 queued messages cancelled")
    assert said[1:] == [
        "backups and exported files of before still hold them, and so do WhatsApp and Wassenger",
    ]
    assert in_files(line, "600000001", "Begoña", TEXT) == set()
    assert line("verify").out.endswith("every promise holds\n")
    assert line.statuses() == {"cancelled": 1, "queued": 1}
    assert line("campaign", "show", "spring").out.splitlines()[0] == "spring: running, 2 contacts"
    assert line("contact", "show", ANA, code=1).err == "wamsg2: there is no contact with this number\n"
    exported = line("campaign", "export", "spring", "-").out.splitlines()
    assert exported[1].startswith("forgotten,yes,cancelled")


def test_forget_for_machines(line: CommandLine) -> None:
    assert line("contact", "forget", ANA, "--yes", "--json").json == {
        "interactions": 1, "events": 1, "mentions": 0, "cancelled": 1, "log_is_empty": True, "pages_left": 0,
        "rewritten": False, "copies": [],
    }  # fmt: skip


def test_forget_asks(line: CommandLine) -> None:
    said = line("contact", "forget", ANA, types="n\n", code=1)
    assert said.out.startswith("Erase everything about this person? It cannot be taken back. [y/N]: ")
    line("contact", "forget", ANA, code=1)  # nobody answers
    assert line.sql("SELECT count(*) FROM forgotten") == [(0,)]
    line("contact", "forget", ANA, types="y\n")
    assert line.sql("SELECT count(*) FROM forgotten") == [(1,)]


def test_forget_needs_a_database(wamsg2: CommandLine) -> None:
    assert "no such database" in wamsg2("contact", "forget", ANA, "--yes", code=1).err
    assert not wamsg2.database.exists()


def test_an_import_refuses_who_was_forgotten(line: CommandLine) -> None:
    line("contact", "forget", ANA, "--yes")
    line("campaign", "create", "autumn", "--message-1", "Hi")
    said = line("campaign", "import", "autumn", line.csv("phone", BRUNO, ANA), code=1)
    assert said.out.splitlines() == [
        "1 contact added",
        "1 row refused (row 3)",
        "  phone: was forgotten on request (`wamsg2 contact remember` takes that back)",
    ]
    assert line("contact", "opt-out", ANA, code=1).err == (
        "wamsg2: this number was forgotten: nothing is sent to it\n"
    )


def test_copies_beside_the_database_are_named(line: CommandLine) -> None:
    copy = line.directory / "wamsg2.db.before-restore-20261122T100000Z"
    copy.write_bytes(b"")
    said = line("contact", "forget", ANA, "--yes").out.splitlines()
    assert said[-1] == f"beside the database: {copy}"


def test_somebody_who_reads_the_log_is_told(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "_TRIES", 1)
    with closing(sqlite3.connect(line.database, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM contacts").fetchall()
        said = line("contact", "forget", ANA, "--yes", code=1)
        assert said.err.startswith(f"wamsg2: {line.database}-wal still holds their words: another program")
    line("contact", "forget", ANA, "--yes")
    assert in_files(line, "600000001", "Begoña", TEXT) == set()


def test_a_file_can_be_rewritten(line: CommandLine) -> None:
    with closing(sqlite3.connect(line.database)) as careless, careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.executemany("INSERT INTO marks (name, at) VALUES (?, 0)", ((f"{n} {ANA}",) for n in range(500)))
        careless.execute("DELETE FROM marks")
    said = line("contact", "forget", ANA, "--yes").out.splitlines()
    assert said[1] == "the database was written anew"
    assert in_files(line, "600000001") == set()
    assert "the database was written anew" in line("contact", "forget", ANA, "--yes", "--rewrite").out


def test_where_webhooks_would_wait_a_person_decides(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(line.database)) as careless, careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.executemany("INSERT INTO marks (name, at) VALUES (?, 0)", ((f"{n} {ANA}",) for n in range(500)))
        careless.execute("DELETE FROM marks")
    monkeypatch.setattr(privacy, "_QUICK_BYTES", 1)
    monkeypatch.setattr(privacy, "is_served", lambda _: True)
    said = line("contact", "forget", ANA, "--yes", code=1).err
    assert said.endswith("run this command again with --rewrite, at a time when webhooks may wait\n")
    line("contact", "forget", ANA, "--yes", "--rewrite")
    assert in_files(line, "600000001") == set()


# --- remember ------------------------------------------------------------------------------------------------


def test_remember(line: CommandLine) -> None:
    assert line("contact", "remember", ANA, code=1).err == "wamsg2: this number was not forgotten\n"
    line("contact", "forget", ANA, "--yes")
    assert line("contact", "remember", ANA).out == "can be imported again; opted out until `wamsg2 contact opt-in`\n"
    assert line("contact", "show", ANA).out.splitlines()[0] == f"{ANA}  (opted out)"
    line("contact", "opt-in", ANA, "--yes")
    line("contact", "opt-out", "+34600000009")
    line("contact", "forget", "+34600000009", "--yes")
    assert line("contact", "remember", "+34600000009").out.startswith("can be imported again; opted out until")
    assert line("verify").out.endswith("every promise holds\n")
