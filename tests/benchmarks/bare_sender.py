"""The baseline of sends, as a process: an aiohttp client that posts the same to the same far end.

    python -m tests.benchmarks.bare_sender

reads one line of JSON (a `Task`) and writes ``{}`` when all is answered; the far end knows when each request began.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import aiohttp

from tests.benchmarks import children
from tests.benchmarks.far_end import API_KEY, DEVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to post.

    Args:
        base_url: of the far end.
        count: of messages.
        in_flight: requests under way at once.
        interval_seconds: between the starts of two requests; 0: as fast as they are answered.
        keeps_alive: whether connections are used again; the daemon opens one for each request.
    """

    base_url: str
    count: int
    in_flight: int = 16
    interval_seconds: float = 0.0
    keeps_alive: bool = True


async def _post(task: Task) -> None:
    connector = aiohttp.TCPConnector(limit=0, force_close=not task.keeps_alive)
    headers = {"Token": API_KEY, "Accept": "application/json"}
    slots = asyncio.Semaphore(task.in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as tasks:
        async for n in _paced(task):
            await slots.acquire()
            tasks.create_task(_post_one(session, slots, task.base_url, n))


async def _paced(task: Task) -> AsyncIterator[int]:
    next_at = time.monotonic()
    for n in range(task.count):
        if (wait_seconds := next_at - time.monotonic()) > 0:
            await asyncio.sleep(wait_seconds)
        next_at += task.interval_seconds
        yield n


async def _post_one(session: aiohttp.ClientSession, slots: asyncio.Semaphore, base_url: str, n: int) -> None:
    body = {
        "phone": f"+346{n:08d}",
        "message": "Hello",
        "device": DEVICE,
        "reference": f"bare-{n}",
        "priority": "normal",
    }
    async with session.post(f"{base_url}/messages", json=body) as response:
        assert response.status == 201
        json.loads(await response.read())
    slots.release()


async def run(task: Task) -> None:
    """Post everything, from another process."""
    async with children.child("tests.benchmarks.bare_sender") as process:
        children.tell(process, asdict(task))
        await children.told(process)


def main() -> None:
    """Be the process."""
    children.run(_post(Task(**json.loads(sys.stdin.readline()))))
    children.answer({})


if __name__ == "__main__":
    main()
