"""Who is told, on the event loop, once a unit of work is on disk and before it is acknowledged."""

from typing import Protocol


class Signals(Protocol):
    """The sender, as units of work see it."""

    def wake(self) -> None:
        """There may be something to send."""

    def withdraw(self, contact_id: int) -> None:
        """Nothing more may leave for this contact, even if it is claimed already."""


class NoSignals:
    """A command has no sender; the daemon beside it sees the commit by itself."""

    def wake(self) -> None:
        """Nobody to wake."""

    def withdraw(self, contact_id: int) -> None:
        """Nothing is claimed here."""


NO_SIGNALS = NoSignals()
