"""The query strings of look-ups: filters, order and pages."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from aiohttp import web

from wamsg2.sandbox.state import AcceptedMessage, ChatMessage
from wamsg2.sandbox.validation import Refusal
from wamsg2.sandbox.wire import lid_of, wid_of

T = TypeVar("T")

DEFAULT_SIZE = 20
MAX_SIZE = 1000
PAGING = frozenset({"size", "page", "sort", "token", "include"})

#: Whether an item has the value asked for.
Matcher = Callable[[AcceptedMessage, str], bool]
ChatMatcher = Callable[[ChatMessage, str], bool]

MESSAGE_FILTERS: Mapping[str, Matcher] = {
    "reference": lambda message, value: message.reference == value,
    "ids": lambda message, value: message.id in value.split(","),
    # An id that its sender cannot know yet finds nothing.
    "waIds": lambda message, value: message.wa_id in value.split(",") and message.shows_wa_id,
    "phone": lambda message, value: message.phone == value,
    "device": lambda message, value: message.device == value,
    "devices": lambda message, value: message.device in value.split(","),
    "status": lambda message, value: message.status in value.split(","),
    "deliveryStatus": lambda message, value: message.status in value.split(","),
    "priority": lambda message, value: message.priority == value,
    "createdAfter": lambda message, value: message.accepted_at >= _time(value),
    "createdBefore": lambda message, value: message.accepted_at < _time(value),
}
CHAT_FILTERS: Mapping[str, ChatMatcher] = {
    "chat": lambda message, value: value in (wid_of(message.phone), lid_of(message.phone)),
    "flow": lambda message, value: message.flow == value,
    "ack": lambda message, value: message.ack == value,
    "reference": lambda message, value: message.reference == value,
    "wid": lambda message, value: message.wa_id == value,
    "after": lambda message, value: message.at >= _time(value),
    "before": lambda message, value: message.at < _time(value),
}


def select_messages(request: web.Request, messages: Iterable[AcceptedMessage]) -> list[AcceptedMessage]:
    """The page of messages that a request asks for; ``messages`` come oldest first."""
    _refuse_unknown(request, MESSAGE_FILTERS.keys())
    return _page(request, [item for item in messages if _matches(request, MESSAGE_FILTERS, item)])


def select_chat(request: web.Request, messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """The page of chat messages that a request asks for."""
    _refuse_unknown(request, CHAT_FILTERS.keys())
    found = [item for item in messages if _matches(request, CHAT_FILTERS, item)]
    return _page(request, sorted(found, key=lambda item: item.at))


def page_only(request: web.Request, items: Iterable[T]) -> list[T]:
    """The page of something without filters, in its own order."""
    size, page = _whole_number(request, "size", DEFAULT_SIZE, 1), _whole_number(request, "page", 0, 0)
    return list(islice(items, size * page, size * (page + 1)))


def _page(request: web.Request, oldest_first: list[T]) -> list[T]:
    order = request.query.get("sort", "date:desc")
    if order not in ("date:desc", "date:asc"):
        raise Refusal(400, "sort must be date:desc or date:asc", "query:invalid")
    ordered: Iterator[T] = reversed(oldest_first) if order == "date:desc" else iter(oldest_first)
    return page_only(request, ordered)


def _matches(request: web.Request, filters: Mapping[str, Callable[[T, str], bool]], item: T) -> bool:
    """Whether an item passes every filter; one that is repeated passes with any of its values."""
    return all(
        any(matches(item, value) for value in request.query.getall(name))
        for name, matches in filters.items()
        if name in request.query
    )


def _refuse_unknown(request: web.Request, filters: Iterable[str]) -> None:
    # A filter that were ignored would answer with messages that nobody asked for, and hide a client's mistake.
    if unknown := sorted(set(request.query) - PAGING - set(filters)):
        raise Refusal(400, f"unknown filter: {', '.join(unknown)}", "query:invalid")


def _whole_number(request: web.Request, name: str, default: int, minimum: int) -> int:
    raw = request.query.get(name, str(default))
    if not raw.isdecimal() or not minimum <= int(raw) <= MAX_SIZE:
        raise Refusal(400, f"{name} must be an integer from {minimum} to {MAX_SIZE}", "query:invalid")
    return int(raw)


def _time(value: str) -> datetime:
    """A time given as ISO 8601 or as seconds since 1970."""
    try:
        if value.isdecimal():
            return datetime.fromtimestamp(int(value), UTC)
        at = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise Refusal(400, f"not a time: {value}", "query:invalid") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
