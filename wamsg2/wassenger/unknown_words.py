"""Words of the provider for the state of a message that are not known yet."""

from collections.abc import Callable, Iterable

from wamsg2.wassenger.progress import safe_word

#: Different words that are told. A provider that says more means something else by them.
_MAX_TOLD = 100


class UnknownWords:
    """Counts the unknown words since the start.

    Args:
        tell: called once with each word that cannot hold a name or a number.
    """

    def __init__(self, tell: Callable[[str], None] = lambda _word: None) -> None:
        self.count = 0
        self._tell = tell
        self._told: set[str] = set()

    def note(self, words: Iterable[str]) -> None:
        """Count words, and tell the new ones."""
        for word in words:
            self.count += 1
            if word not in self._told and len(self._told) < _MAX_TOLD and safe_word(word):
                self._told.add(word)
                self._tell(word)
