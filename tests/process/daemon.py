"""Started as a process of its own: the real daemon, which ends itself with SIGKILL at a named point.

    python -m tests.process.daemon CONFIG POINT [COUNT]

A point is ``before:UNIT`` or ``after:UNIT``: around the commit that holds the COUNT-th unit of work (1 by default) of
that name, such as ``after:claim``. (Of commits there may be few: on a busy machine one holds many units.)
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
        if when == self._when and (found := list(map(_name, works)).count(self._unit)):
            self._left -= found
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    settings = config.load(Path(arguments[0]), environ={})
    logs.configure(json=True)
    hook = KillAt(arguments[1], int(arguments[2]) if len(arguments) > 2 else 1)
    common.run_async(app.run(settings, asyncio.Event(), commit_hook=hook))


if __name__ == "__main__":
    main(sys.argv[1:])
