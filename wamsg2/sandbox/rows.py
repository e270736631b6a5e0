"""Events that come as an array: some wait a moment for others of their kind."""

import asyncio

from wamsg2.sandbox.state import World
from wamsg2.sandbox.webhooks import Event, Postman
from wamsg2.sandbox.wire import Json


class Rows:
    """Collects events of one name, and hands them to the postman as one array."""

    def __init__(self, world: World, postman: Postman) -> None:
        self._world = world
        self._postman = postman
        self._rules = world.settings.webhooks
        self._waiting: dict[str, list[Event]] = {}

    def takes(self, event: Event) -> bool:
        """Whether an event waits for others; chance decides. If not, it is its sender's to deliver."""
        if not self._world.dice.chance(self._rules.row_share, "row", event.subject):
            return False
        row = self._waiting.setdefault(event.name, [])
        row.append(event)
        if len(row) == 1:
            self._world.tasks.spawn(self._deliver_later(row))
        elif len(row) >= self._rules.max_row_events:
            self._deliver(row)
        return True

    async def _deliver_later(self, row: list[Event]) -> None:
        wait_seconds = self._world.dice.between_seconds(self._rules.row_wait_seconds, "row", row[0].subject)
        await asyncio.sleep(wait_seconds)
        if self._waiting.get(row[0].name) is row:
            self._deliver(row)

    def _deliver(self, row: list[Event]) -> None:
        first = row[0]
        del self._waiting[first.name]
        elements: list[Json] = [element for event in row for element in event.elements]
        self._postman.emit(Event(first.name, first.phone, first.subject, elements))
