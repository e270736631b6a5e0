"""What happened, line by line: read when a run fails, compared when two runs must be one."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from typing import Any, NamedTuple

import structlog

from tests.simulation.timeline import DAY_SECONDS, Moment, Timeline

#: Whose doings concern everybody, if they are close.
_EVERYBODYS = ("host", "team")
_NEAR_SECONDS = 60.0


class Line(NamedTuple):
    """One thing that happened."""

    moment: Moment
    who: str
    what: str
    facts: MutableMapping[str, Any]

    def __str__(self) -> str:
        day, seconds = divmod(self.moment.seconds, DAY_SECONDS)
        hours, seconds = divmod(seconds, 3600)
        minutes, seconds = divmod(seconds, 60)
        time = f"day {int(day) + 1} {int(hours):02}:{int(minutes):02}:{seconds:06.3f}"
        facts = "  ".join(f"{key}={value}" for key, value in self.facts.items() if value is not None)
        return f"{time}  {self.who:<9} {self.what:<22} {facts}".rstrip()


class Trace:
    """The lines of one run."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._lines: list[Line] = []

    def note(self, who: str, what: str, **facts: Any) -> Moment:
        """Something has just happened; when."""
        moment = self._timeline.moment()
        self._lines.append(Line(moment, who, what, facts))
        return moment

    def log(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        """A structlog processor: the daemon's own words belong to the trace, and nowhere else."""
        self.note("daemon", event.pop("event"), **event)
        raise structlog.DropEvent

    def named(self, who: str, what: str) -> Iterator[Line]:
        """Every line on a thing that somebody did."""
        return (line for line in self._lines if (line.who, line.what) == (who, what))

    def lines(self) -> list[str]:
        """Everything."""
        return [str(line) for line in self._lines]

    def story(self, about: Collection[tuple[str, Any]], until: Moment | None, most: int) -> list[str]:
        """The last lines up to a moment that have one of these facts, and what befell everybody around them."""
        wanted = set(about)
        lines = [line for line in self._lines if until is None or line.moment <= until]
        if wanted:
            of_it = [not wanted.isdisjoint(line.facts.items()) for line in lines]
            times = [line.moment.seconds for line, is_of_it in zip(lines, of_it, strict=True) if is_of_it]
            lines = [
                line
                for line, is_of_it in zip(lines, of_it, strict=True)
                if is_of_it or (line.who in _EVERYBODYS and _is_near(line.moment.seconds, times))
            ]
        return [str(line) for line in lines[-most:]]


def _is_near(seconds: float, times: Sequence[float]) -> bool:
    place = bisect_left(times, seconds)
    return any(abs(seconds - time) <= _NEAR_SECONDS for time in times[max(place - 1, 0) : place + 1])
