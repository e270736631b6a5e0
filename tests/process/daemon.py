"""Started as a process of its own: the real daemon, which ends itself with SIGKILL at a named point.

    python -m tests.process.daemon CONFIG POINT [COUNT]

A point is ``before:UNIT`` or ``after:UNIT``: around the COUNT-th commit (1 by default) with a unit of work of that
name, such as ``after:claim``.
"""

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from wamsg2 import app, config, logs
from wamsg2.cli import common
from wamsg2.store.writer import Work


def _name(work: Work[Any]) -> str:
    while isinstance(work, functools.partial):
        work = work.func
    return getattr(work, "__name__", "")


class KillAt:
    """A commit hook that kills the process."""

    def __init__(self, point: str, count: int) -> None:
        self._when, _, self._unit = point.partition(":")
        self._left = count

    def __call__(self, when: Literal["before", "after"], works: Sequence[Work[Any]]) -> None:
        if when == self._when and self._unit in map(_name, works):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    settings = config.load(Path(arguments[0]), environ={})
    logs.configure(json=True)
    hook = KillAt(arguments[1], int(arguments[2]) if len(arguments) > 2 else 1)
    common.run_async(app.run(settings, asyncio.Event(), commit_hook=hook))


if __name__ == "__main__":
    main(sys.argv[1:])
