"""Started as a process of its own: the real daemon with a clock that a test sets.

    python -m tests.process.stepped_daemon CONFIG OFFSET

The file OFFSET holds how many seconds the time of day is off. The monotonic clock is the machine's, as it would be.
"""

import asyncio
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

from wamsg2 import app, config, logs
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import Settings


class SteppedClock(SystemClock):
    """The machine's clock, off by what a file says."""

    def __init__(self, offset: Path) -> None:
        self._offset = offset

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._offset.read_text(encoding="ascii")))


async def serve(settings: Settings, clock: SteppedClock) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.run(settings, stop, clock=clock)


def main(path: str, offset: str) -> None:
    """Serve a configuration."""
    settings = config.load(Path(path), environ={})
    logs.configure(json=True)
    common.run_async(serve(settings, SteppedClock(Path(offset))))


if __name__ == "__main__":
    main(*sys.argv[1:])
