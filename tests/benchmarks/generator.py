"""The load generator, as a process.

    python -m tests.benchmarks.generator

reads one line of JSON (a `Task`) and writes one (a `Load`). SIGTERM ends it early, with what it has seen.
"""

import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Literal

from tests.benchmarks import children, load
from tests.benchmarks.load import Load
from tests.benchmarks.webhooks import Mix


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to request.

    Args:
        port: on this machine.
        target: path and query.
        what: the mix of webhooks, a reply of each of the first contacts, or GETs.
        count: of requests.
        first: number of the first one, for the mix.
        contacts: of the database, for the mix.
        signing_key: for webhooks.
        connections: each has one request under way.
        per_second: the starts of requests are so far apart; None: as fast as they are answered.
    """

    port: int
    target: str
    what: Literal["mix", "replies", "gets"] = "mix"
    count: int
    first: int = 0
    contacts: int = 0
    signing_key: str = ""
    connections: int = 64
    per_second: float | None = None

    def requests(self) -> list[bytes]:
        """All of them, as bytes."""
        mix = Mix(self.contacts, self.target, self.signing_key)
        match self.what:
            case "mix":
                return mix.requests(self.first, self.count)
            case "replies":
                return mix.replies(self.count)
            case "gets":
                return [load.get(self.target)] * self.count


class Running:
    """A generator at work."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def end(self) -> Load:
        """Stop it; what it has seen."""
        if self._process.returncode is None:  # otherwise it has said why
            self._process.send_signal(signal.SIGTERM)
        return await self.result()

    async def result(self) -> Load:
        """Wait until it is done."""
        return Load(**await children.told(self._process))


@asynccontextmanager
async def running(task: Task) -> AsyncIterator[Running]:
    """A generator as a process, beside whatever the block does."""
    async with children.child("tests.benchmarks.generator") as process:
        children.tell(process, asdict(task))
        yield Running(process)


async def run(task: Task) -> Load:
    """Request everything, from another process; each request must be answered with 200 in the end."""
    async with running(task) as generator:
        return await generator.result()


def main() -> None:
    """Be the process."""
    task = Task(**json.loads(sys.stdin.readline()))
    work = load.drive(task.port, task.requests(), task.connections, task.per_second)
    children.answer(asdict(children.run(work)))


if __name__ == "__main__":
    main()
