"""Logging: one line per event on stderr, JSON under systemd, readable on a terminal, and nothing private in it.

Whoever logs masks what is private where it is known. The redaction here is the last safety net, for the day somebody
forgets, and for the exceptions and libraries that nobody asked.
"""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper, add_log_level
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, Processor, WrappedLogger

from wamsg2.masking import MASK, SENSITIVE_NAME, mask_id, mask_phone, mask_text

Level = Literal["debug", "info", "warning", "error"]

_HANDLER: Final = "wamsg2.logs"
# Fields whose long digit runs are ids, not numbers to call; `…_at` holds a time.
_ID_FIELDS: Final = frozenset(
    {"id", "reference", "version", "device", "message_id", "event_id", "campaign_id", "contact_id"}
    | {"interaction_id", "queue_id", "device_id", "webhook_id", "delivery_id"}
)
# Written by the processors before, over whatever anybody gave.
_OUR_FIELDS: Final = ("timestamp", "level")

_LOST: Final = '{{"level": "error", "event": "log_line_lost", "error": "{}"}}'


def configure(stream: TextIO | None = None, *, json: bool | None = None, level: Level = "info") -> None:
    """Set up structlog and the standard library's logging to write to one stream. May be called again.

    Args:
        stream: where lines go; standard error by default.
        json: JSON lines or a readable console; by default JSON under systemd or when `stream` is not a terminal.
        level: from which level on our own events are written. Libraries are heard from WARNING on.
    """
    stream = sys.stderr if stream is None else stream
    as_json = _is_unattended(stream) if json is None else json

    before: list[Processor] = [add_log_level, TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True), _milliseconds]
    handler = _Handler(stream)
    handler.name = _HANDLER
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_logger_name, *before],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                # Turned into text first, so that what an exception says is redacted too. No locals are shown.
                ExceptionRenderer(),
                redact,
                *_rendering(stream, as_json=as_json),
            ],
        )
    )

    root = logging.getLogger()
    for old in [each for each in root.handlers if each.name == _HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)

    threshold = logging.getLevelNamesMapping()[level.upper()]
    # Our own events go straight to the stream: a detour through the standard library doubles what a line costs.
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _in_one([*before, ExceptionRenderer(), redact, *_rendering(stream, as_json=as_json)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream),
    )


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """The safety net, a structlog processor: no secret, message text or full phone number gets past it.

    Values of fields named like a secret or a text are masked whole; in every other string, however deep, phone
    numbers and `secret=…` are. Fields known to hold ids and times keep their digits.
    """
    ours = {name: event_dict.pop(name) for name in _OUR_FIELDS if name in event_dict}
    return ours | _redact_fields(event_dict)


def _redact_fields(fields: Mapping[Any, object]) -> dict[str, object]:
    return {_mask_name(str(name)): _redact(str(name), value) for name, value in fields.items()}


# The same few names come with every line.
_mask_name = lru_cache(maxsize=256)(mask_text)
_is_sensitive = lru_cache(maxsize=256)(lambda name: SENSITIVE_NAME.fullmatch(name) is not None)


def _redact(key: str, value: object) -> object:
    if value is None or value == "" or isinstance(value, bool | float):
        return value
    if _is_sensitive(key):
        return MASK
    if key == "phone":
        return mask_phone(str(value))
    match value:
        case int():
            return value
        case str():
            return _redact_text(key, value)
        case Mapping():
            return _redact_fields(value)
        case list() | tuple() | set() | frozenset():
            return [_redact(key, each) for each in value]
        case _:
            # A renderer would turn any other object into text behind our back.
            return _redact_text(key, repr(value))


def _redact_text(key: str, text: str) -> str:
    return mask_id(text) if key in _ID_FIELDS or key.endswith("_at") else mask_text(text)


def _in_one(processors: list[Processor]) -> Processor:
    """All of them as one, which gives a line in any case: one that cannot be made is replaced, not raised."""

    def render(logger: WrappedLogger, method: str, event_dict: EventDict) -> str:
        made: Any = event_dict
        try:
            for process in processors:
                made = process(logger, method, made)
        except Exception as error:  # noqa: BLE001 - a log line must never be what stops the daemon
            return _LOST.format(type(error).__name__)
        return str(made)

    return render


def _milliseconds(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    event_dict["timestamp"] = event_dict["timestamp"][: -len("000Z")] + "Z"
    return event_dict


def _is_unattended(stream: TextIO) -> bool:
    under_systemd = bool(os.environ.get("JOURNAL_STREAM") or os.environ.get("INVOCATION_ID"))
    return under_systemd or not stream.isatty()


def _rendering(stream: TextIO, *, as_json: bool) -> list[Processor]:
    if as_json:
        return [_what_happened_first, JSONRenderer(ensure_ascii=False)]
    colors = stream.isatty() and not os.environ.get("NO_COLOR")
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _what_happened_first(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    return {key: event_dict.pop(key) for key in ("timestamp", "level", "event")} | dict(event_dict)


class _Lines:
    """Writes lines, as `_Handler` does for other libraries."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write a line."""
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            with suppress(OSError, ValueError):
                self._stream.write(_LOST.format(type(error).__name__) + "\n")

    debug = info = warning = error = exception = critical = msg


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; a line that cannot be written neither stops the daemon nor shows itself unredacted."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the base class's signature
        # The base class prints the raw record, with everything redaction would have masked.
        error = type(sys.exception()).__name__
        with suppress(OSError, ValueError):
            self.stream.write(_LOST.format(error) + "\n")
