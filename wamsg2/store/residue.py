"""What a database's files hold beside its rows: the log, and the unused parts of pages.

Every writing connection has ``secure_delete`` on, so what is deleted or replaced is overwritten with zeros. One thing
slips through: where SQLite rebuilds a page that was too full, a copy of a row that moved to the next page can stay
behind in the part that is free now. Rare as that is, it is looked for, and a rewrite of the file removes it. What is
left of a packed body is read from its beginning, which is what stays longest: SQLite fills a page from its end.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from wamsg2.store import bodies
from wamsg2.store.database import DatabaseError, connect

#: While a checkpoint waits for readers it keeps writers waiting: so it does not wait, and is tried again.
_CHECKPOINT_WAITS_MS = 10
_INTERIOR, _LEAF = (2, 5), (10, 13)
_FILE_HEADER_BYTES = 100


def empty_log(path: Path) -> bool:
    """Move the log into the file and cut it to nothing; False while somebody reads or writes: try again.

    Raises:
        DatabaseError: the disk refuses it.
    """
    with closing(connect(path)) as connection:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # most of the work, while everybody goes on
            connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAITS_MS}")
            ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}") from None
    return not is_busy


def rewrite(path: Path) -> None:
    """Write the file anew, with nothing in it but its rows. Nobody else can write meanwhile.

    Raises:
        DatabaseError: the disk is too full, or somebody kept writing.
    """
    with closing(connect(path)) as connection:
        try:
            connection.execute("PRAGMA temp_store = FILE")  # the copy may be larger than the memory
            connection.execute("VACUUM")
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}") from None


def copies(path: Path) -> list[Path]:
    """Files beside the database that are named after it and are none of its own: copies of some time before."""
    own = {f"{path.name}.lock"}
    return sorted(each for each in path.parent.glob(f"{path.name}.*") if each.name not in own)


def pages_with(path: Path, words: Iterable[str]) -> int:
    """In how many pages of the file (not the log) one of these words stands where no row is."""
    needles = [word.encode("utf-8", "replace") for word in words]
    found = 0
    try:
        for unused in _unused_parts(path):
            left = unused.strip(b"\0")
            found += bool(left) and any(needle in text for text in _texts_in(left) for needle in needles)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}") from None
    return found


def _texts_in(left: bytes) -> Iterator[bytes]:
    """These bytes, and what is packed in them."""
    yield left
    yield from bodies.remains_in(left)


def _unused_parts(path: Path) -> Iterator[bytes]:
    """Of every page what is not part of a row, as the file format says.

    A page that is written meanwhile may be misread: that gives a wrong part, and never an error.
    """
    with path.open("rb") as file:
        header = file.read(_FILE_HEADER_BYTES)
        size = struct.unpack_from(">H", header, 16)[0]
        size = 65536 if size == 1 else size
        free = _free_pages(path, size, struct.unpack_from(">I", header, 32)[0])
        file.seek(0)
        number = 0
        while len(page := file.read(size)) == size:
            number += 1
            yield page if number in free else _unused_of(page, _FILE_HEADER_BYTES if number == 1 else 0)


def _free_pages(path: Path, size: int, trunk: int) -> set[int]:
    """The pages that are not in use at all."""
    free: set[int] = set()
    with path.open("rb") as file:
        while trunk and trunk not in free:
            file.seek((trunk - 1) * size)
            page = file.read(size)
            if len(page) < size:
                break
            following, count = struct.unpack_from(">II", page)
            count = min(count, size // 4 - 2)
            free |= {trunk, *struct.unpack_from(f">{count}I", page, 8)}
            trunk = following
    return free


def _unused_of(page: bytes, start: int) -> bytes:
    """Of a page of rows the part between the list of rows and the rows, and the gaps between them."""
    kind = page[start]
    if kind not in (*_INTERIOR, *_LEAF):
        return b""  # the rest of a long row
    gap, count, rows_from = struct.unpack_from(">HHH", page, start + 1)
    list_from = start + (12 if kind in _INTERIOR else 8)
    parts = [page[list_from + 2 * count : rows_from or len(page)]]
    while 0 < gap <= len(page) - 4:
        following, length = struct.unpack_from(">HH", page, gap)
        parts.append(page[gap + 4 : gap + length])
        gap = following if following > gap else 0
    return b"\0".join(parts)
