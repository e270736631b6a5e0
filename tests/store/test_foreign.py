"""A file that is somebody else's is left alone."""

import sqlite3
from pathlib import Path

import pytest

from wamsg2.store.database import connect
from wamsg2.store.schema import SchemaError


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    with pytest.raises(SchemaError, match="another program's database"):
        connect(path)
