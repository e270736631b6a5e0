"""Moments that outlive the process."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import START, commit, house, memory
from wamsg2.store import marks
from wamsg2.store.writer import Tx


def test_there_is_none_before_it_is_set() -> None:
    connection = memory()
    assert commit(connection, lambda tx: marks.get(tx, "a")) is None
    connection.close()


def test_each_has_a_name_and_the_last_word_holds() -> None:
    """Whether a moment may go back is for its owner to judge."""
    connection = memory()
    later = START + timedelta(hours=1)
    for name, at in (("a", START), ("b", later), ("a", later), ("b", START)):
        commit(connection, lambda tx, name=name, at=at: marks.put(tx, name, at))  # type: ignore[misc] # a lambda has no annotations
    assert [commit(connection, lambda tx, n=n: marks.get(tx, n)) for n in "abc"] == [later, START, None]  # type: ignore[misc] # see above
    assert connection.execute("SELECT count(*) FROM marks").fetchone() == (2,)
    connection.close()


async def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    at = START + timedelta(milliseconds=1)
    async with house(tmp_path) as home:
        await home.store.write(lambda tx: marks.put(tx, "a", at))
    async with house(tmp_path) as home:
        assert await home.store.write(lambda tx: marks.get(tx, "a")) == at


async def test_one_whose_unit_fails_was_never_set(tmp_path: Path) -> None:
    def put_and_fail(tx: Tx) -> None:
        marks.put(tx, "a", START + timedelta(days=1))
        raise ValueError("something else went wrong")

    async with house(tmp_path) as home:
        await home.store.write(lambda tx: marks.put(tx, "a", START))
        with pytest.raises(ValueError, match="something else"):
            await home.store.write(put_and_fail)
        assert await home.store.write(lambda tx: marks.get(tx, "a")) == START
