"""Between the tables' INTEGER milliseconds UTC and everyone else's aware datetimes."""

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@overload
def to_ms(moment: datetime) -> int: ...
@overload
def to_ms(moment: None) -> None: ...
@overload
def to_ms(moment: datetime | None) -> int | None: ...
def to_ms(moment: datetime | None) -> int | None:
    """Milliseconds since 1970, rounded down."""
    return None if moment is None else (moment - _EPOCH) // _MILLISECOND


@overload
def from_ms(milliseconds: int) -> datetime: ...
@overload
def from_ms(milliseconds: None) -> None: ...
@overload
def from_ms(milliseconds: int | None) -> datetime | None: ...
def from_ms(milliseconds: int | None) -> datetime | None:
    """An aware datetime in UTC."""
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def to_the_millisecond(moment: datetime) -> datetime:
    """The moment as it comes back from the tables."""
    return from_ms(to_ms(moment))


def to_iso(milliseconds: int | None) -> str | None:
    """As reports show it: ``2026-11-22T10:00:00.000Z``."""
    moment = from_ms(milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
