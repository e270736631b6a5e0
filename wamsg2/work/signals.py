"""Who is told by units of work, on the event loop."""

from typing import Protocol


class Signals(Protocol):
    """The sender, as units of work see it."""

    def wake(self) -> None:
        """There may be something to send: told once the unit is on disk, before it is acknowledged."""

    def withdraw(self, contact_id: int) -> None:
        """Nothing more may leave for this contact, even if it is claimed already: told before the unit is on disk."""


class NoSignals:
    """A command has no sender; the daemon beside it sees the commit by itself."""

    def wake(self) -> None:
        """Nobody to wake."""

    def withdraw(self, contact_id: int) -> None:
        """Nothing is claimed here."""


NO_SIGNALS = NoSignals()
