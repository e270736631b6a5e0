"""What the operator of a daemon reads."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.site import Site
from tests.support import PROCESS_SECONDS

Line = dict[str, Any]


def logged(made: Site, event: str, *, reason: str = "", **facts: object) -> list[Line]:
    """The lines with this event and these facts, and with a reason that begins so."""
    with (made.directory / "daemon.log").open(encoding="utf-8") as log:
        lines: list[Line] = [json.loads(line) for line in log if line.endswith("\n")]  # the last may be half there
    return [
        line
        for line in lines
        if line["event"] == event and facts.items() <= line.items() and line.get("reason", "").startswith(reason)
    ]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that announces itself nowhere else."""
    async with asyncio.timeout(PROCESS_SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)
