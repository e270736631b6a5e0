"""A loop that sleeps, and whoever has news for it."""

import asyncio
import math


class Bell:
    """Rung by others, waited for by one loop; a ring that nobody waits for is kept for the next wait."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Let the loop go on."""
        self._rung.set()

    async def wait(self, seconds: float = math.inf) -> bool:
        """Until it is rung, or so many seconds have passed; whether it was rung."""
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
