"""`wamsg2 backup` and `wamsg2 restore`, as a person or a timer calls them."""

import re
from pathlib import Path

from tests.cli.conftest import ANA, BRUNO, CommandLine
from wamsg2.store.database import InstanceLock


def test_a_backup_and_back(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    said = wamsg2("backup", "b.db").out
    assert re.fullmatch(r"2 messages, 0\.\d MB, checked: \S+/b\.db\n", said)
    wamsg2("campaign", "pause", "spring")
    said = wamsg2("restore", "b.db", "--yes").out
    assert "running: spring\n" in said
    assert "2 messages may have been sent since; looking all of them up takes about 0:02:04" in said
    assert f"restored; the database before it is {wamsg2.database}.before-restore-" in said
    assert "paused or cancelled" in said
    assert wamsg2.statuses() == {"uncertain": 2}
    assert wamsg2("campaign", "show", "spring", "--json").json["status"] == "running"
    wamsg2("verify")


def test_a_backup_as_json(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    backups = wamsg2.directory / "backups"
    backups.mkdir()
    old = [backups / f"wamsg2-2020010{n}T000000Z.db" for n in (1, 2, 3)]
    for path in old:
        path.touch()
    report = wamsg2("backup", backups, "--keep", "2", "--json").json
    assert report["removed"] == [str(path) for path in old[:2]]
    assert report["messages"] == 1
    assert Path(report["file"]).stat().st_size == report["bytes"]
    assert sorted(backups.iterdir()) == [old[2], Path(report["file"])]
    wamsg2("verify", report["file"])


def test_a_directory_keeps_fourteen(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    for n in range(10, 30):
        (wamsg2.directory / f"wamsg2-202001{n}T000000Z.db").touch()
    assert wamsg2("backup", ".").out.endswith("; 7 older removed\n")
    assert len(list(wamsg2.directory.glob("wamsg2-2*.db"))) == 14


def test_wrong_usage(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    assert "--keep is for a directory" in wamsg2("backup", "b.db", "--keep", "3", code=2).err
    wamsg2("backup", ".", "--keep", "0", code=2)
    wamsg2("backup", code=2)
    wamsg2("restore", code=2)
    wamsg2("restore", "b.db", "--json", code=2)  # nobody is asked


def test_a_backup_that_fails_is_one_line(wamsg2: CommandLine) -> None:
    assert "no such database" in wamsg2("backup", "b.db", code=1).err
    wamsg2.campaign(ANA)
    assert "the database itself" in wamsg2("backup", wamsg2.database, code=1).err
    assert "No such file" in wamsg2("backup", "nowhere/b.db", code=1).err
    wamsg2.sql("DROP TRIGGER recipients_added")
    assert "no backup: the database is damaged: the schema is not" in wamsg2("backup", "b.db", code=1).err
    assert not (wamsg2.directory / "b.db").exists()
    assert wamsg2("status", "--json").json["backup"]["made_at"] is None
    assert wamsg2("status", "--json").json["backup"]["failed_at"] is not None


def test_what_is_broken_is_told_beside_the_backup(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2.sql("UPDATE message_counts SET n = 9")
    said = wamsg2("backup", "b.db").out
    assert "\nbroken in the database already: counters: message counts differ from the rows: " in said
    assert [each["promise"] for each in wamsg2("backup", "b.db", "--json").json["violations"]] == ["counters"]
    assert "backup     last good one 20" in wamsg2("status").out


def test_a_restore_asks(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("backup", "b.db")
    content = wamsg2.database.read_bytes()
    nobody = "no terminal to ask on: pass --yes to go ahead without asking"
    for answer, reason in (("n\n", "stopped"), ("", nobody)):
        said = wamsg2("restore", "b.db", code=1, types=answer)
        assert f"Put b.db in place of {wamsg2.database}?" in said.out
        assert said.err == f"wamsg2: {reason}\n"
        assert wamsg2.database.read_bytes() == content
    assert "restored" in wamsg2("restore", "b.db", types="y\n").out
    assert wamsg2.statuses() == {"uncertain": 1}


def test_a_restore_that_is_refused_is_one_line(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    assert "no such database" in wamsg2("restore", "b.db", "--yes", code=1).err
    (wamsg2.directory / "b.db").write_text("once upon a time")
    assert "not a database" in wamsg2("restore", "b.db", "--yes", code=1).err
    wamsg2("backup", "b.db")
    lock = InstanceLock(wamsg2.database)
    lock.acquire()
    assert "daemon" in wamsg2("restore", "b.db", "--yes", code=1).err
    lock.release()
    assert wamsg2.statuses() == {"queued": 1}


def test_a_restore_where_there_is_nothing(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("backup", "b.db")
    wamsg2.database.unlink()
    said = wamsg2("restore", "b.db", "--yes").out
    assert "\nrestored\n" in said
    assert wamsg2.statuses() == {"uncertain": 1}


def test_what_was_broken_is_told(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    wamsg2("backup", "b.db")
    wamsg2.sql("UPDATE campaigns SET turn = 9")
    wamsg2.database.rename(wamsg2.directory / "b.db")
    said = wamsg2("restore", "b.db", "--yes").out
    assert "broken in the backup already: counters: the number of the last turn is behind a campaign's" in said


def test_a_restore_for_machines(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA, BRUNO)
    wamsg2("backup", "b.db")
    said = wamsg2("restore", "b.db", "--yes", "--json").json
    assert (said["campaigns"], said["doubts"], said["problems"]) == (["spring"], 2, [])
    assert Path(said["database_before"]).exists()
