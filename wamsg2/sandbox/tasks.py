"""The work a sandbox has under way."""

import asyncio
from collections.abc import Coroutine


class TaskPool:
    """Background tasks that can be waited for and ended together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._is_closed = False

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Start something in the background; nothing starts any more once the pool is closed."""
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    async def idle(self) -> None:
        """Wait until nothing is under way, nor anything that was started meanwhile; raise what went wrong."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failures:
            raise self._failures[0]

    async def close(self) -> None:
        """Cancel everything and wait for it to end."""
        self._is_closed = True
        pending = list(self._tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failures.append(failure)
            context = {"message": "a task of the sandbox failed", "exception": failure, "task": task}
            task.get_loop().call_exception_handler(context)
