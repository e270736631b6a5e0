"""Backups: taken beside the running daemon, and put back so that nothing is sent twice."""

import fcntl
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from wamsg2 import rules
from wamsg2.model import Campaign, WamsgError
from wamsg2.store import copies, marks, verify
from wamsg2.store.database import InstanceLock, Reader, Store, open_file
from wamsg2.store.verify import Violation
from wamsg2.wassenger.events import INBOUND_EVENTS
from wamsg2.work import restoring

#: How many backups a directory keeps, unless told otherwise.
KEPT = 14
_NAME = re.compile(r"wamsg2-\d{8}T\d{6}Z\.db")
#: What SQLite and the daemon keep beside a database.
_LOGS = ("-wal", "-shm", "-journal")
_BESIDE = (*_LOGS, ".lock")


class BackupError(WamsgError):
    """No backup was taken, or none was put back; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was taken: where it is, its size, how many messages it holds, and which older ones went.

    `violations` are the promises that the database breaks, and the backup with it: no reason to have none.
    """

    file: Path
    bytes: int
    messages: int
    removed: Sequence[Path]
    violations: Sequence[Violation]


async def back_up(
    database: Path, target: Path, *, keep: int | None = None, window: timedelta, now: datetime
) -> Backup:
    """Copy the database as it stands, beside whoever uses it; the copy has its name only once it is proved whole.

    The live database keeps in mind when that was done, or failed, for `/status` and notifications.

    Args:
        database: the live one.
        target: a file, which is replaced, or a directory that exists: then the name has the time in it.
        keep: how many backups stay in the directory; the oldest beyond are removed.
        window: how long after Message 1 a reply counts.
        now: the time.

    Raises:
        WamsgError: it could not be taken, or the database is damaged; no file was left.
    """
    try:
        done = await _take(database, target, keep=keep, window=window, now=now)
    except WamsgError:
        copies.leave_mark(database, marks.BACKUP_FAILED, now)
        raise
    copies.leave_mark(database, marks.BACKUP_MADE, now)
    return done


async def _take(database: Path, target: Path, *, keep: int | None, window: timedelta, now: datetime) -> Backup:
    file, temporary = _destination(database, target, now)
    with _on(file), _partial(temporary) as copy:
        copies.copy_live(database, copy)
        async with open_file(copy) as reader:
            found = await _violations(reader, window, now)
            if damage := [v for v in found if v.is_damage]:
                raise BackupError(
                    f"no backup: the database is damaged: {damage[0].what}: {', '.join(damage[0].rows)}"
                )
            messages = sum((await verify.totals(reader)).values())
        size_bytes = _give_name(copy, file)
    return Backup(file, size_bytes, messages, _prune(file.parent, keep) if keep else (), found)


def _destination(database: Path, target: Path, now: datetime) -> tuple[Path, Path]:
    """The file to be, and the name that it has until it is whole."""
    if target.is_dir():
        # One name for all of a directory, so that what a killed backup left is overwritten by the next.
        return target / f"wamsg2-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.db", target / ".wamsg2.db.partial"
    file = target.resolve()  # a link stays one
    live = database.resolve()
    if file in (live, *(live.with_name(live.name + suffix) for suffix in _BESIDE)):
        raise BackupError(f"{target}: that is the database itself")
    if file.exists() and not file.is_file():
        raise BackupError(f"{target}: not a file")
    return file, file.with_name(f".{file.name}.partial")


async def _violations(reader: Reader, window: timedelta, now: datetime) -> list[Violation]:
    return await verify.violations(
        reader, window=window, tolerance=rules.TOLERANCE, now=now, inbound_events=INBOUND_EVENTS
    )


def _prune(directory: Path, keep: int) -> Sequence[Path]:
    """Remove the oldest backups beyond `keep`, which are known by their names; those removed."""
    backups = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name) and path.is_file())
    with _on(directory):
        for path in backups[:-keep]:
            path.unlink()
    return backups[:-keep]


# --- putting one back --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """A copy of a backup beside the database, checked and marked as restored: ready to take its place.

    Attributes:
        database: the file whose place it takes.
        copy: the file that takes it.
        campaigns: those in it.
        doubts: how many messages it holds of which nobody knows whether they were sent since.
        newest_at: of its last entry; what happened after it is unknown to it.
        problems: promises that it breaks, as it did when it was taken.
    """

    database: Path
    copy: Path
    campaigns: Sequence[Campaign]
    doubts: int
    newest_at: datetime | None
    problems: Sequence[str]

    def put_in_place(self, now: datetime) -> Path | None:
        """Let the copy be the database; where the one before it is now, if there was one.

        Raises:
            WamsgError: not possible; the database is as it was.
        """
        stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        aside = self.database.with_name(f"{self.database.name}.before-restore-{stamp}")
        with _on(self.database):
            _put_aside(self.database, aside)
            _give_name(self.copy, self.database)
        return aside if aside.exists() else None


@asynccontextmanager
async def prepared(database: Path, file: Path, *, window: timedelta, now: datetime) -> AsyncIterator[Prepared]:
    """Make a copy of a backup ready to take the place of a database that no daemon uses.

    All that keeps it from sending twice is in the copy before it gets its name, so that a restore that is cut off
    leaves either the old database or a new one that is safe. What does not take the database's place is removed.

    Args:
        database: the live one, if it is still there.
        file: a database of this program: a backup, or whatever is left of a live one, with its log beside it.
        window: how long after Message 1 a reply counts.
        now: the time of the restore.

    Raises:
        WamsgError: a daemon runs, or the file is damaged, newer or none of ours. Nothing has changed.
    """
    lock = InstanceLock(database)
    lock.acquire()
    database = database.resolve()  # noqa: ASYNC240 - nothing else runs
    try:
        temporary = database.with_name(database.name + ".restoring")
        with _on(database), _partial(temporary) as copy:
            copies.copy_file(file, copy)
            async with await Store.open(copy) as store:
                found = await _violations(store.reader, window, now)
                if damage := [v for v in found if v.is_damage]:
                    raise BackupError(f"{file}: {damage[0].what}: {', '.join(damage[0].rows)}")
                newest_at = await store.write(copies.newest_entry)
                campaigns = await store.write(partial(restoring.begin, now=now))
                doubts = await _doubt_all(store, now)
            problems = [f"{v.promise}: {v.what}" for v in found]
            yield Prepared(database, copy, campaigns, doubts, newest_at, problems)
    finally:
        lock.release()


async def _doubt_all(store: Store, now: datetime) -> int:
    after: int | None = 0
    total = 0
    while after is not None:
        after, doubted = await store.write(partial(restoring.doubt, after_message_id=after, now=now))
        total += doubted
    return total


def _put_aside(database: Path, aside: Path) -> None:
    if copies.fold_log(database):
        with suppress(OSError):  # not every file system has links
            aside.hardlink_to(database)  # there is a database at any moment: a crash here changes nothing
            return
    for suffix in ("", *_LOGS):  # a log without its database would be taken for the next one's
        with suppress(FileNotFoundError):
            database.with_name(database.name + suffix).rename(aside.with_name(aside.name + suffix))


# --- files -------------------------------------------------------------------------------------------------


@contextmanager
def _on(path: Path) -> Iterator[None]:
    """Whatever the system refuses is one line that names the file."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"{error.filename or path}: {error.strerror}") from None


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """An empty file for one process alone, mode 0600: what a killed one left there is gone, and so is it at the end,
    unless it has got another name.
    """
    fd = _lock_new(path)
    try:
        for suffix in _LOGS:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        yield path
    finally:
        if _is_at(fd, path):
            for suffix in (*_LOGS, ""):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.close(fd)


def _lock_new(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise BackupError(f"{path}: another process is writing it") from None
        if _is_at(fd, path):
            os.ftruncate(fd, 0)
            return fd
        os.close(fd)  # before we had the lock, whoever had it gave the file its name


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _give_name(copy: Path, file: Path) -> int:
    """Bring a file to the disk, then give it its name, all or nothing; its size in bytes."""
    with copy.open("rb") as content:
        os.fsync(content.fileno())
        size_bytes = os.fstat(content.fileno()).st_size
    copy.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return size_bytes
