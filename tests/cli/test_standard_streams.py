"""Commands, each as a process of its own, whose output nobody takes: 1, and one line that says why."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import ANA, CommandLine, Result, judged
from tests.site import ROOT
from tests.support import PROCESS_SECONDS
from wamsg2 import cli

EXPORTS = [["campaign", "export", "spring", "-"], ["contact", "export", ANA]]


def called(wamsg2: CommandLine, *arguments: str, stdout: int, stderr: int = subprocess.PIPE) -> Result:
    """Run a command as a process; the interpreter buffers its output as it does by default."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "wamsg2", *arguments],
        cwd=wamsg2.directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8",
        timeout=PROCESS_SECONDS,
        check=False,
    )
    return Result(done.returncode, "", done.stderr or "")


@contextmanager
def nobody_reads() -> Iterator[int]:
    """A pipe whose reader has gone away."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@contextmanager
def full_disk() -> Iterator[int]:
    """A device without room."""
    with Path("/dev/full").open("wb", buffering=0) as device:
        yield device.fileno()


@pytest.mark.parametrize("contacts", [1, 2000], ids=["less than a buffer", "more than all buffers"])
def test_an_export_whose_reader_goes_away(wamsg2: CommandLine, contacts: int) -> None:
    wamsg2.campaign(*(f"+346{n:08d}" for n in range(contacts)), launch=False)
    with nobody_reads() as gone:
        said = judged(called(wamsg2, "campaign", "export", "spring", "-", stdout=gone), 1)
    assert said.err == "wamsg2: -: Broken pipe\n"


@pytest.mark.parametrize(
    "command",
    [["--help"], ["campaign", "list"], ["campaign", "show", "spring", "--json"]],
    ids=["help", "words", "json"],
)
def test_a_reader_that_goes_away(wamsg2: CommandLine, command: list[str]) -> None:
    wamsg2.campaign(ANA)
    with nobody_reads() as gone:
        said = judged(called(wamsg2, *command, stdout=gone), 1)
    assert said.err == "wamsg2: stdout: Broken pipe\n"


@pytest.mark.parametrize("command", EXPORTS, ids=["campaign", "contact"])
def test_an_export_to_a_full_disk(wamsg2: CommandLine, command: list[str]) -> None:
    wamsg2.campaign(ANA)
    with full_disk() as full:
        said = judged(called(wamsg2, *command, stdout=full), 1)
    assert said.err == "wamsg2: -: No space left on device\n"


def test_words_to_a_full_disk(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    with full_disk() as full:
        said = judged(called(wamsg2, "campaign", "list", stdout=full), 1)
    assert said.err == "wamsg2: No space left on device\n"


def test_neither_stream_is_read(wamsg2: CommandLine) -> None:
    wamsg2.campaign(ANA)
    with nobody_reads() as gone:
        assert called(wamsg2, "campaign", "export", "spring", "-", stdout=gone, stderr=gone).code == 1
        assert called(wamsg2, "campaign", "list", stdout=gone, stderr=gone).code == 1


@pytest.mark.parametrize("command", EXPORTS, ids=["campaign", "contact"])
def test_an_export_to_a_closed_stdout(wamsg2: CommandLine, command: list[str]) -> None:
    wamsg2.campaign(ANA)
    wamsg2.monkeypatch.setattr(sys, "stdout", None)  # as the interpreter has it then
    ended = cli.run(command)
    said = Result(ended, "", wamsg2.capsys.readouterr().err)
    assert judged(said, 1).err == "wamsg2: -: Bad file descriptor\n"
