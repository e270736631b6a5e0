"""A command line: `wamsg2` in this process, with a configuration and a database of its own."""

import io
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import structlog

from tests.site import free_port
from wamsg2 import cli
from wamsg2.sandbox import SandboxSettings

API_KEY = "k3y-nobody-may-see"
WEBHOOK_SECRET = "s3cret-nobody-may-see"
ADMIN_TOKEN = "t0ken-nobody-may-see"
SECRETS = (API_KEY, WEBHOOK_SECRET, ADMIN_TOKEN)

ANA, BRUNO, CHLOE = "+34600000001", "+5531987654321", "+33612345678"


@dataclass(frozen=True)
class Result:
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def judged(
    result: Result, expected_code: int, secrets: Sequence[str] = SECRETS, warnings: Sequence[str] = ()
) -> Result:
    """What holds for every command: the exit code says how it ended, and stderr says why, after its warnings."""
    said = f"{result.out}\n{result.err}"
    assert result.code == expected_code, said
    assert "Traceback" not in said
    assert "internal error" not in said
    assert not [secret for secret in secrets if secret in said]
    lines = result.err.splitlines()
    assert [line for line in lines if line.startswith("warning: ")] == [f"warning: {each}" for each in warnings]
    why = lines[len(warnings) :]
    if expected_code == 0:
        assert why == []
    elif expected_code == 1:
        assert len(why) == 1
        assert why[0].startswith("wamsg2: ")
    else:
        assert why[0].startswith(("Usage: wamsg2", "Error: "))
        assert result.out == ""
    return result


@dataclass
class CommandLine:
    """Calls commands as a person would in `directory`, where `config.toml` lies."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(
        self,
        *arguments: str | Path,
        code: int = 0,
        types: str = "",
        stdin: BinaryIO | None = None,
        warnings: Sequence[str] = (),
    ) -> Result:
        """Run a command that must end with this code.

        Args:
            arguments: without the `wamsg2` before them.
            code: with which it must end.
            types: what a person answers.
            stdin: a pipe in the place of a person.
            warnings: what it must warn of, and of nothing else.
        """
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin) if stdin else io.StringIO(types))
        self.capsys.readouterr()
        ended = cli.run([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        return judged(Result(ended, captured.out, captured.err), code, warnings=warnings)

    @property
    def config(self) -> Path:
        return self.directory / "config.toml"

    @property
    def database(self) -> Path:
        return self.directory / "wamsg2.db"

    def configure(self, **values: str) -> None:
        """Write `config.toml`; `webhook__port="1"` is `webhook.port = 1`."""
        keys = {
            "wassenger.api_key": f'"{API_KEY}"',
            "wassenger.device": f'"{SandboxSettings().device_id}"',
            "wassenger.base_url": f'"http://127.0.0.1:{free_port()}/v1"',
            "webhook.host": '"127.0.0.1"',
            "webhook.port": str(free_port()),
            "webhook.secrets": f'["{WEBHOOK_SECRET}"]',
            "admin.port": str(free_port()),
            "admin.token": f'"{ADMIN_TOKEN}"',
            "database.path": f'"{self.database}"',
        } | {name.replace("__", "."): value for name, value in values.items()}
        self.config.write_text("\n".join(f"{k} = {v}" for k, v in keys.items() if v), encoding="utf-8")

    def csv(self, *rows: str, name: str = "contacts.csv") -> Path:
        """A file of contacts; the first row is its header."""
        file = self.directory / name
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return file

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Look at the rows, or plant some."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    def campaign(self, *phones: str, name: str = "spring", launch: bool = True) -> None:
        """A campaign with these contacts, made by commands."""
        self("campaign", "create", name, "--message-1", "Hello", "--message-2", "More")
        self("campaign", "import", name, self.csv("phone", *phones))
        if launch:
            self("campaign", "launch", name, "--yes")

    def statuses(self) -> dict[str, int]:
        """How many messages stand in each status."""
        return dict(self.sql("SELECT status, count(*) FROM messages GROUP BY status"))


@pytest.fixture
def wamsg2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """A command line whose directory holds a complete configuration, and no database yet."""
    for name in [n for n in os.environ if n.startswith(("WAMSG2_", "WASSENGER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    line = CommandLine(tmp_path, monkeypatch, capsys)
    line.configure()
    root = logging.getLogger()
    level = root.level
    yield line
    # Some commands set up logging, as a process of their own would.
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    for handler in [each for each in root.handlers if each.name == "wamsg2.logs"]:
        root.removeHandler(handler)
