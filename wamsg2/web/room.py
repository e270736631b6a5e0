"""How much may be under way at once, from the first byte of a body to its commit."""

from collections.abc import Iterator
from contextlib import contextmanager


class NoRoomError(Exception):
    """Too much is under way already."""


class Room:
    """Counts requests and the bytes of their bodies.

    Args:
        max_requests: requests at once.
        max_bytes: of all their bodies together.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.taken_bytes = 0

    @contextmanager
    def enter(self, size_bytes: int) -> Iterator["Place"]:
        """Take in a request whose body has at least so many bytes, until the context ends.

        Raises:
            NoRoomError: there is no room for it.
        """
        if self.requests >= self._max_requests:
            raise NoRoomError
        place = Place(self)
        place.grow(size_bytes)
        self.requests += 1
        try:
            yield place
        finally:
            self.requests -= 1
            self.taken_bytes -= place.size_bytes

    def take(self, size_bytes: int) -> None:
        """Count bytes.

        Raises:
            NoRoomError: there is no room for them.
        """
        if self.taken_bytes + size_bytes > self._max_bytes:
            raise NoRoomError
        self.taken_bytes += size_bytes


class Place:
    """What one request takes of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Take more bytes.

        Raises:
            NoRoomError: there is no room for them.
        """
        self._room.take(size_bytes)
        self.size_bytes += size_bytes
