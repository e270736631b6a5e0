"""Started as a process of its own: the real daemon with a bug that shows itself in the third commit.

python -m tests.process.broken_daemon CONFIG
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from wamsg2 import app, cli, config, logs
from wamsg2.cli import common
from wamsg2.store.writer import Work


class Broken:
    """A commit hook with a bug."""

    def __init__(self) -> None:
        self._left = 3

    def __call__(self, when: Literal["before", "after"], _works: Sequence[Work[Any]]) -> None:
        self._left -= when == "before"
        if self._left == 0:
            raise RuntimeError("a bug")


def main(path: str) -> int:
    """Serve a configuration; the exit code and the last line are those of the command."""
    settings = config.load(Path(path), environ={})
    logs.configure(json=True)
    try:
        common.run_async(app.run(settings, asyncio.Event(), commit_hook=Broken()))
    except Exception as error:  # noqa: BLE001 - as the command's own last line of defence
        sys.stderr.write(f"wamsg2: {cli.describe(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
