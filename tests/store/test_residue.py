"""What deleted rows leave in the files: nothing, as long as every connection overwrites; what is left is found."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wamsg2.store import bodies, database, residue
from wamsg2.store.database import DatabaseError, InstanceLock, Store, connect, is_served

SECRET = "XYZZY-plugh"


def filled(path: Path, *, careless: bool = False) -> None:
    """A database out of which rows with a secret were deleted: whole pages of them, and every third row of others."""
    with closing(connect(path)) as connection:
        if careless:
            connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO contacts (id, phone, phone_key, created_at) VALUES (?1, ?2, ?2, 0)",
            ((n, f"{n * 7919 % 1000:04} {SECRET if n > 700 or n % 3 == 0 else 'harmless'}") for n in range(1, 1001)),
        )
        connection.execute("COMMIT")
        connection.execute("DELETE FROM contacts WHERE phone LIKE ?", (f"%{SECRET}",))


def contents(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def test_what_is_deleted_is_in_no_file(path: Path) -> None:
    filled(path)
    assert SECRET.encode() not in contents(path)
    assert residue.pages_with(path, [SECRET]) == 0


def test_what_a_careless_program_left_is_found_and_rewritten(path: Path) -> None:
    filled(path, careless=True)
    assert SECRET.encode() in contents(path)
    assert residue.pages_with(path, [SECRET]) > 0
    assert residue.pages_with(path, ["nowhere"]) == 0
    residue.rewrite(path)
    assert residue.empty_log(path)
    assert SECRET.encode() not in contents(path)
    assert residue.pages_with(path, [SECRET]) == 0
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (467,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("page_bytes", [512, 1024, 65536])
def test_pages_of_any_size(path: Path, page_bytes: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO t (text) VALUES (?)", ((SECRET * 3,) for _ in range(500)))
        connection.commit()
        assert residue.pages_with(path, [SECRET]) == 0
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM t WHERE id % 2")
        connection.commit()
    assert residue.pages_with(path, [SECRET]) > 0


async def test_a_log_is_emptied_beside_a_daemon(path: Path) -> None:
    async with await Store.open(path, daemon=True, grouped=True) as daemon:
        await daemon.write(
            lambda tx: tx.execute("INSERT INTO marks (name, at) VALUES (?, 0)", (SECRET,)),
        )
        await daemon.write(lambda tx: tx.execute("DELETE FROM marks WHERE name = ?", (SECRET,)))
        assert SECRET.encode() in contents(path)
        assert await asyncio.to_thread(residue.empty_log, path)
        assert SECRET.encode() not in contents(path)
        assert path.with_name("test.db-wal").stat().st_size == 0
        await daemon.write(lambda tx: tx.execute("INSERT INTO marks (name, at) VALUES ('after', 0)"))


async def test_a_reader_keeps_the_log(path: Path) -> None:
    async with await Store.open(path) as store:
        await store.write(lambda tx: tx.execute("INSERT INTO marks (name, at) VALUES ('before', 0)"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM marks").fetchall()
            await store.write(lambda tx: tx.execute("INSERT INTO marks (name, at) VALUES ('after', 0)"))
            assert not residue.empty_log(path)
            # Nobody was kept from writing.
            await store.write(lambda tx: tx.execute("DELETE FROM marks"))
        assert residue.empty_log(path)


def test_what_the_disk_refuses_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM contacts")
        with pytest.raises(DatabaseError, match="database is locked"):
            residue.rewrite(path)
        other.execute("ROLLBACK")
    with pytest.raises(DatabaseError, match="No such file"):
        residue.pages_with(path.with_name("other.db"), [SECRET])


def test_copies_beside_the_database_are_named(path: Path) -> None:
    for name in ("test.db", "test.db.lock", "test.db-wal", "test.db-shm", "test.db.before-restore-1", "other.db"):
        path.with_name(name).touch()
    assert [copy.name for copy in residue.copies(path)] == ["test.db.before-restore-1"]


def test_whether_a_daemon_runs(path: Path) -> None:
    lock = InstanceLock(path)
    assert not is_served(path)
    lock.acquire()
    assert is_served(path)
    lock.release()
    assert not is_served(path)


def test_what_is_left_of_packed_bodies_is_found(path: Path) -> None:
    """Its words stand in no byte of the file as they are."""
    text = json.dumps({"event": "message:in:new", "data": {"body": f"It is {SECRET} that I want"}}).encode()
    packing, stored = bodies.pack(text)
    assert packing == 1
    assert SECRET.encode() not in stored
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.executemany(
            """INSERT INTO events (identity, name, result, source, body, packing, received_at)
               VALUES (?, 'x', 'accepted', 'webhook', ?, 1, 0)""",
            ((b"%d" % n, stored) for n in range(100)),
        )
        connection.execute("DELETE FROM events WHERE id % 3")
    assert residue.empty_log(path)
    assert residue.pages_with(path, [SECRET]) > 0
    assert residue.pages_with(path, ["nowhere"]) == 0
    residue.rewrite(path)
    assert residue.pages_with(path, [SECRET]) == 0
