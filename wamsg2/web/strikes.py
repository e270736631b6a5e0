"""Who knocks with wrong secrets again and again."""

from collections import OrderedDict

#: So many wrong secrets a minute from one source are answered in full and logged one by one.
MOST_A_MINUTE = 10
_MINUTE_SECONDS = 60.0
#: So many sources are remembered; the one that was quiet for longest is forgotten first.
_MOST_SOURCES = 1024


class Strikes:
    """Counts wrong secrets by source (an address), a minute at a time.

    Who brings the right secret is let in whatever came before from there: behind a proxy, everybody comes from
    one address.
    """

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, source: str, now_seconds: float) -> int:
        """One more wrong secret; the how manieth of its minute this is."""
        began_seconds, count = self._sources.pop(source, (now_seconds, 0))
        if now_seconds - began_seconds >= _MINUTE_SECONDS:
            began_seconds, count = now_seconds, 0
        self._sources[source] = began_seconds, count + 1
        if len(self._sources) > _MOST_SOURCES:
            self._sources.popitem(last=False)
        return count + 1
