"""Opening the file: who may, with which mode, and beside whom."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from wamsg2.store import schema
from wamsg2.store.database import DatabaseError, InstanceLock, Store, connect
from wamsg2.store.schema import SchemaError, migrate
from wamsg2.store.writer import StoreUnavailableError, Tx


async def count(store: Store) -> int:
    ((n,),) = await store.reader.execute_fetchall("SELECT count(*) FROM contacts")
    return int(n)


def spoil(path: Path) -> bytes:
    """Put something else where the database should be."""
    path.write_bytes(b"no database" * 1000)
    return file_bytes(path)


def file_bytes(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


async def test_the_files_are_the_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        async with await Store.open(path, daemon=True) as store:
            await store.write(lambda tx: tx.execute("UPDATE totals SET value = 1"))
            names = ("test.db", "test.db-wal", "test.db-shm", "test.db.lock")
            modes = {name: stat.S_IMODE(path.with_name(name).stat().st_mode) for name in names}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(names, 0o600)


async def test_every_commit_is_fsynced_and_keys_are_enforced(path: Path) -> None:
    async with await Store.open(path) as store:
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 1),  # and asked again: see the test of a lock that is taken again and again
        ):
            assert await store.write(lambda tx, p=pragma: tx.execute(f"PRAGMA {p}").fetchone()[0]) == value  # type: ignore[misc]


# --- the one daemon ------------------------------------------------------------------------------------------


async def test_a_second_daemon_is_refused(path: Path) -> None:
    first = await Store.open(path, daemon=True)
    with pytest.raises(DatabaseError) as refused:
        await Store.open(path, daemon=True)
    assert str(refused.value) == f"another wamsg2 daemon (process {os.getpid()}) is running on test.db"
    await first.close()
    async with await Store.open(path, daemon=True):
        pass


async def test_a_daemon_that_cannot_start_frees_the_lock(path: Path) -> None:
    spoil(path)
    with pytest.raises(DatabaseError):
        await Store.open(path, daemon=True)
    os.truncate(path, 0)
    async with await Store.open(path, daemon=True):
        pass


def test_a_lock_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"x\.db\.lock: No such file or directory"):
        InstanceLock(tmp_path / "missing" / "x.db").acquire()


async def test_a_command_works_beside_a_daemon(path: Path) -> None:
    async with await Store.open(path, daemon=True, grouped=True) as daemon, await Store.open(path) as command:
        await daemon.write(lambda tx: tx.execute("UPDATE totals SET value = 7 WHERE name = 'unmatched'"))
        await command.write(lambda tx: tx.execute("UPDATE totals SET value = value + 1 WHERE name = 'unmatched'"))
        for store in (daemon, command):
            rows = await store.reader.execute_fetchall("SELECT value FROM totals WHERE name = 'unmatched'")
            assert [tuple(row) for row in rows] == [(8,)]


async def test_changed_elsewhere(path: Path) -> None:
    async with await Store.open(path, daemon=True) as daemon, await Store.open(path) as command:
        await daemon.changed_elsewhere()
        assert not await daemon.changed_elsewhere()
        await daemon.write(lambda tx: tx.execute("UPDATE totals SET value = 1"))
        assert not await daemon.changed_elsewhere()
        await command.write(lambda tx: tx.execute("UPDATE totals SET value = 2"))
        assert await daemon.changed_elsewhere()
        assert not await daemon.changed_elsewhere()


async def test_a_look_for_changes_does_not_heal(path: Path) -> None:
    async with await Store.open(path) as store:

        def refused(_: Tx) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

        with pytest.raises(StoreUnavailableError):
            await store.write(refused)
        assert store.failing == "the database cannot be written: disk I/O error"
        await store.changed_elsewhere()
        assert store.failing
        await store.write(lambda tx: tx.execute("UPDATE totals SET value = 2"))
        assert store.failing is None


# --- the reader ----------------------------------------------------------------------------------------------


async def test_the_reader_cannot_write(path: Path) -> None:
    async with await Store.open(path) as store:
        for statement in ("UPDATE totals SET value = 9", "CREATE TABLE x (y)", "DELETE FROM contacts"):
            with pytest.raises(sqlite3.OperationalError, match=r"readonly|query_only"):
                await store.reader.execute(statement)


async def test_a_long_read_holds_nobody_up(path: Path) -> None:
    async with await Store.open(path) as store:
        await store.reader.execute("BEGIN")
        assert await count(store) == 0
        await store.write(
            lambda tx: tx.execute("INSERT INTO contacts (phone, phone_key, created_at) VALUES (1, 1, 1)")
        )
        assert await count(store) == 0  # one consistent view
        await store.reader.execute("ROLLBACK")
        assert await count(store) == 1


# --- what is no database of ours -----------------------------------------------------------------------------


async def test_not_a_database(path: Path) -> None:
    before = spoil(path)
    with pytest.raises(DatabaseError) as refused:
        await Store.open(path)
    assert str(refused.value) == f"{path}: file is not a database"
    assert file_bytes(path) == before


async def test_a_missing_directory(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "test.db"
    with pytest.raises(DatabaseError) as refused:
        await Store.open(path)
    assert str(refused.value) == f"{path}: No such file or directory"


async def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="Is a directory"):
        await Store.open(tmp_path)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with await Store.open(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(SchemaError, match="the database has schema version 99, newer than this program knows"):
        await Store.open(path)


# --- migrations ----------------------------------------------------------------------------------------------


def test_migrations_are_numbered_without_gap() -> None:
    assert [number for number, _ in schema.migrations()] == list(range(1, len(schema.migrations()) + 1))


def test_migrations_are_applied_once(path: Path) -> None:
    first = connect(path)
    first.execute("UPDATE totals SET value = 5")
    before = list(first.iterdump())
    migrate(first)
    first.close()
    second = connect(path)
    assert list(second.iterdump()) == before
    second.close()


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = schema.migrations()
    bad = [*good, (len(good) + 1, "CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);\n")]
    with monkeypatch.context() as broken:
        broken.setattr(schema, "migrations", lambda: bad)
        with pytest.raises(DatabaseError, match="no such table: nowhere"):
            connect(path)
    connection = connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(good),)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    connection.close()


def test_processes_that_migrate_at_once(path: Path) -> None:
    with sqlite3.connect(path) as first:
        first.execute("PRAGMA journal_mode = WAL")
    first.close()
    together, versions = threading.Barrier(4), []

    def open_it() -> None:
        together.wait()
        connection = connect(path)
        versions.append(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.close()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [len(schema.migrations())] * 4


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    connection = sqlite3.connect(":memory:")
    with pytest.raises(SchemaError, match="too old"):
        migrate(connection)
    connection.close()
