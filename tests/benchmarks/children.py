"""Processes beside the daemon: started as modules, spoken to by one line of JSON each way, killed at the end.

What they import is small: their memory is a baseline too.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from tests.benchmarks.machine import ROOT, memory_mib

T = TypeVar("T")

#: Latencies of a long run fit in a line of this many bytes.
_LINE_BYTES = 64 * 1024 * 1024
#: A process that says nothing for so long is broken.
_MOST_SECONDS = 600.0
#: Between two looks at a command's memory.
_LOOK_SECONDS = 0.01


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a child's coroutine on the event loop that the daemon has too."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def answer(message: Mapping[str, Any]) -> None:
    """Be a child, and print a line of JSON.

    All of it, however long: an unbuffered stdout (``PYTHONUNBUFFERED``) drops what the pipe does not take at once.
    """
    sys.stdout.flush()
    left = json.dumps(message).encode() + b"\n"
    os.set_blocking(sys.stdout.fileno(), True)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


def environment() -> dict[str, str]:
    """The environment without settings of ours, which would reach the daemon."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WAMSG2_")}


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Process]:
    """A module as a process with pipes; whatever still runs at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        env=environment(),
        stdin=PIPE,
        stdout=PIPE,
        limit=_LINE_BYTES,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(process: Process) -> dict[str, Any]:
    """The next line of JSON that the process prints; the test fails if it ends without one."""
    assert process.stdout
    async with asyncio.timeout(_MOST_SECONDS):
        line = await process.stdout.readline()
    assert line, f"process {process.pid} ended with {await process.wait()}"
    message: dict[str, Any] = json.loads(line)
    return message


def tell(process: Process, message: Mapping[str, Any]) -> None:
    """Send a line of JSON to the process."""
    assert process.stdin
    process.stdin.write(json.dumps(message).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command took: seconds from start to end, and MiB resident at the most (VmHWM)."""

    seconds: float
    peak_mib: float
    output: str


async def command(*arguments: str) -> Ended:
    """Run a Python command to its good end, and watch its memory."""
    began = asyncio.get_running_loop().time()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments), cwd=ROOT, env=environment(), stdout=PIPE
    )
    output = asyncio.create_task(process.communicate())
    peak_mib = 0.0
    while not output.done():
        try:
            peak_mib = max(peak_mib, memory_mib(process.pid, "VmHWM"))
        except (FileNotFoundError, ProcessLookupError, ValueError):  # it has just ended
            break
        await asyncio.wait([output], timeout=_LOOK_SECONDS)
    written, _ = await output
    seconds = asyncio.get_running_loop().time() - began
    assert process.returncode == 0, f"{arguments} ended with {process.returncode}"
    return Ended(seconds, peak_mib, written.decode())
