"""Chance, made repeatable: every decision is a function of the seed and of what it is about."""

import random

#: A shortest and a longest time, in seconds.
Span = tuple[float, float]


class Dice:
    """Seeded decisions. They depend on their subject, never on the order in which they are asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def roll(self, *subject: object) -> random.Random:
        """A fresh generator for one subject; the same seed and subject always give the same numbers."""
        name = "/".join(str(part) for part in (self._seed, *subject))
        return random.Random(name)  # noqa: S311 - simulation: it must be repeatable, not secret

    def chance(self, rate: float, *subject: object) -> bool:
        """Whether something that happens at ``rate`` (0..1) happens to this subject."""
        return rate > 0 and self.roll(*subject).random() < rate

    def between_seconds(self, span: Span, *subject: object) -> float:
        """A time inside ``span``, in seconds."""
        shortest, longest = span
        return shortest if shortest == longest else self.roll(*subject).uniform(shortest, longest)
