"""Started as a process of its own: the real daemon on a disk that takes its time.

    python -m tests.process.slow_daemon CONFIG SECONDS GATE

A commit takes SECONDS longer, and longer still while the file GATE is there.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from wamsg2 import app, config, logs
from wamsg2.cli import common
from wamsg2.config import Settings
from wamsg2.store.writer import Work


class Slow:
    """A commit hook that waits; it runs on the writer's thread, so only the disk seems slow."""

    def __init__(self, seconds: float, gate: Path) -> None:
        self._seconds = seconds
        self._gate = gate

    def __call__(self, when: Literal["before", "after"], _works: Sequence[Work[Any]]) -> None:
        if when == "before":
            time.sleep(self._seconds)
            while self._gate.exists():
                time.sleep(0.005)


async def serve(settings: Settings, hook: Slow) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.run(settings, stop, commit_hook=hook)


def main(path: str, seconds: str, gate: str) -> None:
    """Serve a configuration."""
    settings = config.load(Path(path), environ={})
    logs.configure(json=True)
    common.run_async(serve(settings, Slow(float(seconds), Path(gate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
