"""Backups: whole or not there; and restores that leave either the old database or a safe new one."""

import fcntl
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, house
from wamsg2 import backup
from wamsg2.backup import Backup, BackupError, back_up, prepared
from wamsg2.model import WamsgError
from wamsg2.store import copies, stats
from wamsg2.store.database import DatabaseError, InstanceLock, Store, connect
from wamsg2.store.times import from_ms

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"
DAY = timedelta(hours=24)
NOW = START + timedelta(seconds=5)
LOGS = ("-wal", "-shm", "-journal")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A database with a campaign of three, of which one has been sent."""
    async with house(tmp_path) as made:
        await made.campaign(ONE, TWO, THREE)
        await made.send_one()
        yield made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


async def take(home: House, target: Path, *, keep: int | None = None, now: datetime = NOW) -> Backup:
    return await back_up(home.store.path, target, keep=keep, window=DAY, now=now)


async def put_back(database: Path, file: Path, now: datetime = NOW) -> Path | None:
    async with prepared(database, file, window=DAY, now=now) as ready:
        return ready.put_in_place(now)


def read(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a file holds, without a byte beside it."""
    with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# --- taking one ----------------------------------------------------------------------------------------------


async def test_a_backup_is_one_file_with_everything(home: House, elsewhere: Path) -> None:
    """Also what is in the log only: the daemon goes on."""
    done = await take(home, elsewhere / "b.db")
    assert names(elsewhere) == {"b.db"}
    assert done == Backup(elsewhere / "b.db", done.file.stat().st_size, 3, (), [])
    assert done.file.stat().st_mode & 0o777 == 0o600
    assert read(done.file, "PRAGMA journal_mode") == [("delete",)]
    assert read(done.file, "SELECT status FROM messages") == [("sent",), ("queued",), ("queued",)]
    await home.send_one()
    assert (await take(home, elsewhere / "b.db")).bytes == done.bytes
    assert read(done.file, "SELECT status FROM messages") == [("sent",), ("sent",), ("queued",)]


async def test_a_directory_gets_files_named_after_the_time(home: House, elsewhere: Path) -> None:
    done = await take(home, elsewhere, now=datetime(2026, 11, 23, 11, 15, 0, tzinfo=UTC))
    assert done.file == elsewhere / "wamsg2-20261123T111500Z.db"
    assert names(elsewhere) == {done.file.name}


async def test_the_oldest_go_and_nothing_else(home: House, elsewhere: Path) -> None:
    others = {"wamsg2.db", "wamsg2-20200101T000000Z.db.gz", "other-20200101T000000Z.db", "wamsg2-2020.db"}
    for name in others:
        (elsewhere / name).touch()
    (elsewhere / "wamsg2-20200101T000000Z.db").mkdir()
    for second in range(5):
        done = await take(home, elsewhere, keep=2, now=START + timedelta(seconds=second))
        assert len(done.removed) == (1 if second > 1 else 0)
    kept = {"wamsg2-20261122T100003Z.db", "wamsg2-20261122T100004Z.db"}
    assert names(elsewhere) == others | kept | {"wamsg2-20200101T000000Z.db"}


async def test_nobody_who_writes_waits_for_it(home: House, elsewhere: Path) -> None:
    """A copy of one moment, although another connection commits all the time; and each of its commits succeeds."""
    stop, commits = threading.Event(), 0

    def write() -> None:
        nonlocal commits
        with closing(connect(home.store.path)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                for name in ("caught_up", "events_removed"):
                    connection.execute("UPDATE totals SET value = value + 1 WHERE name = ?", (name,))
                connection.execute("COMMIT")
                commits += 1

    thread = threading.Thread(target=write)
    thread.start()
    counts = "SELECT value FROM totals WHERE name IN ('caught_up', 'events_removed')"
    seen = list[int]()
    try:
        for n in range(5):
            ((caught_up,), (removed,)) = read((await take(home, elsewhere / f"{n}.db")).file, counts)
            assert caught_up == removed
            seen.append(caught_up)
    finally:
        stop.set()
        thread.join()
    assert sorted(seen) == seen
    assert commits
    assert await home.rows(counts) == [(commits,), (commits,)]


async def test_a_database_that_breaks_a_promise_is_backed_up_all_the_same(home: House, elsewhere: Path) -> None:
    await home.store.write(lambda tx: tx.execute("UPDATE message_counts SET n = n + 1"))
    await home.store.write(lambda tx: tx.execute("UPDATE campaigns SET turn = 99"))
    done = await take(home, elsewhere)
    assert names(elsewhere) == {done.file.name}
    assert [found.promise for found in done.violations] == ["counters", "counters"]
    assert await marks_of(home) == [("backup_made", NOW)]


async def test_a_schema_that_is_not_ours_is_no_backup(home: House, elsewhere: Path) -> None:
    """A table or trigger is gone: whatever is restored from such a file does not work."""
    await take(home, elsewhere / "b.db")
    good = (elsewhere / "b.db").read_bytes()
    await home.store.write(lambda tx: tx.execute("DROP TRIGGER recipients_added"))
    for target in (elsewhere / "b.db", elsewhere):
        with pytest.raises(
            BackupError, match=r"^no backup: the database is damaged: the schema is not as it was made: "
        ):
            await take(home, target, now=NOW + timedelta(seconds=7))
    assert names(elsewhere) == {"b.db"}
    assert (elsewhere / "b.db").read_bytes() == good
    assert await marks_of(home) == [("backup_failed", NOW + timedelta(seconds=7)), ("backup_made", NOW)]


async def test_the_status_says_when_the_last_good_backup_was_made(home: House, elsewhere: Path) -> None:
    assert await stats.backups(home.store.reader) == stats.BackupStats(None, None)
    with pytest.raises(BackupError):
        await take(home, elsewhere / "no" / "b.db", now=NOW)
    assert await stats.backups(home.store.reader) == stats.BackupStats(None, NOW)
    await take(home, elsewhere, now=NOW + timedelta(seconds=1))
    assert await stats.backups(home.store.reader) == stats.BackupStats(NOW + timedelta(seconds=1), None)


async def marks_of(home: House) -> list[tuple[str, datetime]]:
    rows = await home.rows("SELECT name, at FROM marks ORDER BY name")
    return [(name, from_ms(at)) for name, at in rows]


async def test_a_damaged_database_is_no_backup(home: House, elsewhere: Path) -> None:
    await home.store.close()
    with home.store.path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(WamsgError):
        await take(home, elsewhere / "b.db")
    assert names(elsewhere) == set()


@pytest.mark.parametrize("name", ["test.db", "test.db-wal", "test.db.lock", "link"])
async def test_the_database_is_not_its_own_backup(home: House, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(home.store.path)
    with pytest.raises(BackupError, match="the database itself"):
        await take(home, tmp_path / name)
    assert await home.statuses()


async def test_a_backup_goes_where_a_link_leads(home: House, elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(elsewhere / "b.db")
    assert (await take(home, tmp_path / "link")).file == elsewhere / "b.db"
    assert (tmp_path / "link").is_symlink()


async def test_a_pipe_is_no_place_for_a_backup(home: House, elsewhere: Path) -> None:
    os.mkfifo(elsewhere / "pipe")
    with pytest.raises(BackupError, match="not a file"):
        await take(home, elsewhere / "pipe")


async def test_no_such_directory(home: House, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file or directory"):
        await take(home, tmp_path / "nowhere" / "b.db")


async def test_no_such_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such database"):
        await back_up(tmp_path / "test.db", tmp_path / "b.db", window=DAY, now=NOW)
    assert names(tmp_path) == set()


async def test_what_a_killed_backup_left_is_overwritten(home: House, elsewhere: Path) -> None:
    for name in (".wamsg2.db.partial", ".wamsg2.db.partial-journal", ".b.db.partial", ".b.db.partial-wal"):
        (elsewhere / name).write_bytes(b"x" * 100_000)
    first, second = await take(home, elsewhere), await take(home, elsewhere / "b.db")
    assert names(elsewhere) == {first.file.name, "b.db"}
    assert first.bytes == second.bytes


async def test_one_backup_at_a_time(home: House, elsewhere: Path) -> None:
    with backup._partial(elsewhere / ".wamsg2.db.partial"), pytest.raises(BackupError, match="another process"):
        await take(home, elsewhere)
    await take(home, elsewhere)


async def test_a_file_that_got_its_name_meanwhile_is_left_alone(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process gives its copy the name between our opening it and our lock on it."""
    partial, final = elsewhere / "p", elsewhere / "final"
    flock = fcntl.flock

    def overtaken(fd: int, operation: int) -> None:
        if not final.exists():
            partial.write_bytes(b"good")
            partial.rename(final)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with backup._partial(partial) as made:
        assert made.read_bytes() == b""
    assert final.read_bytes() == b"good"
    assert names(elsewhere) == {"final"}


# --- putting one back ----------------------------------------------------------------------------------------


async def test_a_restore(home: House, elsewhere: Path, tmp_path: Path) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.send_one()
    await home.store.close()
    database, now = home.store.path, NOW + timedelta(hours=1)
    async with prepared(database, file, window=DAY, now=now) as ready:
        assert ready.doubts == 2
        assert [c.name for c in ready.campaigns] == ["spring"]
        assert ready.newest_at == START
        assert ready.problems == []
        assert read(database, "SELECT status FROM messages") == [("sent",), ("sent",), ("queued",)]
        aside = ready.put_in_place(now)
    assert aside == tmp_path / "test.db.before-restore-20261122T110005Z"
    assert names(tmp_path) == {"test.db", "test.db.lock", "backups", aside.name}
    assert database.stat().st_mode & 0o777 == 0o600
    assert read(aside, "SELECT status FROM messages") == [("sent",), ("sent",), ("queued",)]
    assert read(database, "SELECT status FROM messages") == [("sent",), ("uncertain",), ("uncertain",)]
    restored_ms = int(now.timestamp() * 1000)
    assert read(database, "SELECT restored_at FROM campaigns") == [(restored_ms,)]
    assert read(file, "SELECT restored_at FROM campaigns") == [(None,)]
    async with await Store.open(database, daemon=True) as store:
        assert list(await store.reader.execute_fetchall("PRAGMA integrity_check")) == [("ok",)]


async def test_a_disk_that_is_gone(home: House, elsewhere: Path) -> None:
    """Nothing to put aside; a log that was left behind is not taken for the new database's."""
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    database = home.store.path
    database.unlink()
    database.with_name("test.db-wal").write_bytes(b"x" * 100)
    assert await put_back(database, file) is None
    assert read(database, "SELECT count(*) FROM messages") == [(3,)]
    assert database.with_name("test.db.before-restore-20261122T100005Z-wal").read_bytes() == b"x" * 100


async def test_what_was_in_the_log_is_not_lost(home: House, elsewhere: Path, tmp_path: Path) -> None:
    """The daemon was killed: its last commits are in the log only."""
    file = (await take(home, elsewhere / "b.db")).file
    await home.send_one()
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", *LOGS[:2]):
        shutil.copy(f"{home.store.path}{suffix}", killed / f"test.db{suffix}")
    assert (killed / "test.db-wal").stat().st_size > 0
    aside = await put_back(killed / "test.db", file)
    assert aside
    assert names(killed) == {"test.db", "test.db.lock", aside.name}
    assert read(aside, "SELECT status FROM messages") == [("sent",), ("sent",), ("queued",)]


async def test_what_is_left_of_a_database_can_be_restored(home: House, tmp_path: Path) -> None:
    """With the log beside it; and in its own place, where somebody has put it by hand."""
    left = tmp_path / "left"
    left.mkdir()
    for suffix in ("", *LOGS[:2]):
        shutil.copy(f"{home.store.path}{suffix}", left / f"test.db{suffix}")
    for database in (tmp_path / "new.db", left / "test.db"):
        await put_back(database, left / "test.db")
        assert read(database, "SELECT status FROM messages") == [("sent",), ("uncertain",), ("uncertain",)]


async def test_a_damaged_database_is_put_aside_as_it_is(home: House, elsewhere: Path) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    log = home.store.path.with_name("test.db-wal")
    home.store.path.write_bytes(b"rubbish" * 1000)
    log.write_bytes(b"log")
    aside = await put_back(home.store.path, file)
    assert aside
    assert aside.read_bytes() == b"rubbish" * 1000
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"log"
    assert read(home.store.path, "SELECT count(*) FROM messages") == [(3,)]
    assert not log.exists()


async def test_a_running_daemon_is_in_the_way(home: House, elsewhere: Path, tmp_path: Path) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    lock = InstanceLock(home.store.path)
    lock.acquire()
    before = names(tmp_path)
    with pytest.raises(DatabaseError, match="daemon"):
        await put_back(home.store.path, file)
    assert names(tmp_path) == before
    lock.release()


async def test_a_command_that_runs_is_in_the_way(
    home: House, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "BUSY_TIMEOUT_SECONDS", 0.1)
    file = (await take(home, elsewhere / "b.db")).file
    before = names(tmp_path)
    with pytest.raises(DatabaseError, match="another program has it open"):
        await put_back(home.store.path, file)
    assert names(tmp_path) == before | {"test.db.lock"}
    await home.send_one()


def other(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")


def damaged(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(5 * 4096)
        stream.write(b"\xff" * 4096 * 30)


def changed(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP INDEX messages_once")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: f.write_bytes(b"once upon a time" * 999), "not a database"),
        (lambda f: f.write_bytes(b""), "no database of wamsg2"),
        (other, "no database of wamsg2"),
        (lambda f: f.unlink(), "no such database"),
        (lambda f: (f.unlink(), f.mkdir()), "Is a directory"),
        (newer, "newer than this program knows"),
        (damaged, "malformed"),
        (cut, "malformed"),
        (changed, "index messages_once is missing"),
    ],
)
async def test_not_every_file_can_be_restored(
    home: House, elsewhere: Path, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    harm(file)
    before, content = names(tmp_path), home.store.path.read_bytes()
    with pytest.raises(WamsgError, match=says) as refused:
        await put_back(home.store.path, file)
    assert "\n" not in str(refused.value)
    assert names(tmp_path) == before | {"test.db.lock"}
    assert home.store.path.read_bytes() == content


async def test_a_backup_that_broke_a_promise_can_be_restored(home: House, elsewhere: Path) -> None:
    """There may be no better one; what is wrong is told."""
    file = (await take(home, elsewhere / "b.db")).file
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE message_counts SET n = n + 1")
    await home.store.close()
    async with prepared(home.store.path, file, window=DAY, now=NOW) as ready:
        assert ready.problems == ["counters: message counts differ from the rows"]
        ready.put_in_place(NOW)
    assert read(home.store.path, "SELECT count(*) FROM messages") == [(3,)]


async def test_a_restore_that_is_not_wanted_leaves_nothing(home: House, elsewhere: Path, tmp_path: Path) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    before, content = names(tmp_path), home.store.path.read_bytes()
    with suppress(KeyboardInterrupt):
        async with prepared(home.store.path, file, window=DAY, now=NOW):
            raise KeyboardInterrupt
    assert names(tmp_path) == before | {"test.db.lock"}
    assert home.store.path.read_bytes() == content


@pytest.mark.parametrize("moment", ["_put_aside", "_give_name"])
async def test_a_restore_that_dies_leaves_a_database_that_is_safe(
    home: House, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before or after the old one is put aside: the old one, whole, is still in its place."""
    file = (await take(home, elsewhere / "b.db")).file
    await home.send_one()
    await home.store.close()

    def die(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, moment, die)
    with pytest.raises(BackupError, match="No space left on device"):
        await put_back(home.store.path, file)
    assert read(home.store.path, "SELECT status FROM messages") == [("sent",), ("sent",), ("queued",)]


async def test_a_database_behind_a_link(home: House, elsewhere: Path, tmp_path: Path) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    (tmp_path / "link.db").symlink_to(home.store.path)
    aside = await put_back(tmp_path / "link.db", file)
    assert (tmp_path / "link.db").is_symlink()
    assert read(home.store.path, "SELECT count(*) FROM campaigns WHERE restored_at IS NOT NULL") == [(1,)]
    assert aside
    assert not aside.is_symlink()
    assert read(aside, "SELECT count(*) FROM campaigns WHERE restored_at IS NOT NULL") == [(0,)]


async def test_a_file_system_without_links(home: House, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    aside = await put_back(home.store.path, file)
    assert aside
    assert read(aside, "SELECT count(*) FROM messages") == [(3,)]
    assert read(home.store.path, "SELECT count(*) FROM campaigns WHERE restored_at IS NOT NULL") == [(1,)]


async def test_tables_of_litestream_are_no_damage(home: House, elsewhere: Path) -> None:
    """It keeps its place in the log in tables of its own."""
    await home.store.write(
        lambda tx: tx.execute("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
    )
    await home.store.write(lambda tx: tx.execute("CREATE TABLE _litestream_lock (id INTEGER)"))
    file = (await take(home, elsewhere / "b.db")).file
    await home.store.close()
    await put_back(home.store.path, file)
    assert read(home.store.path, "SELECT count(*) FROM messages") == [(3,)]
