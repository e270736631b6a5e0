"""Delimited text (CSV) as records: one for each row that Excel would show, and a fault for each that cannot be split.

A fault in one row leaves the others alone: a quotation mark that is never closed would otherwise take in every row
behind it.
"""

import csv
import re
import string
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

#: What stands between values, in the order in which a tie is decided.
SEPARATORS = (",", ";", "\t")
_DEFAULT_SEPARATOR = ","
_BLANKS = "".join(SEPARATORS) + string.whitespace
#: Of one line: longer than any row that a person made.
_LINE_LIMIT_CHARACTERS = 1 << 17
#: Over how many lines one quoted value may go.
_QUOTED_LINES_LIMIT = 200
_QUOTED = re.compile('"[^"]*"')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

NOT_CLOSED = 'a quotation mark (") opens a value and none closes it'
MISPLACED = 'a quotation mark (") stands in the middle of a value'
TOO_LONG = f"the row is longer than {_LINE_LIMIT_CHARACTERS:,} characters"


class Record(NamedTuple):
    """A row: its number as Excel shows it, its cells as they are written, and why they cannot be relied on."""

    number: int
    cells: list[str]
    fault: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written in it."""
        return self.fault is None and not any(cell.strip(_BLANKS) for cell in self.cells)


#: Whether cells are a row of their own.
IsRow = Callable[[list[str]], bool]


def read_separator(stream: TextIO) -> str:
    """What stands between the values, by a line ``sep=…`` or by the first line that is not empty.

    A line ``sep=…`` is read over, as in Excel; all else is there to be read again.
    """
    start = stream.tell()
    if match := _SEPARATOR_LINE.fullmatch(stream.readline(_LINE_LIMIT_CHARACTERS)):
        return match[1]
    stream.seek(start)
    header = ""
    while _is_blank(header) or header.count('"') % 2:
        if not (line := stream.readline(_LINE_LIMIT_CHARACTERS)) or len(header) >= _LINE_LIMIT_CHARACTERS:
            break
        header = line if _is_blank(header) else header + line
    stream.seek(start)
    bare = _QUOTED.sub("", header)
    counts = {separator: bare.count(separator) for separator in SEPARATORS}
    return max(counts, key=lambda separator: counts[separator]) if any(counts.values()) else _DEFAULT_SEPARATOR


def _is_blank(line: str) -> bool:
    return not line.strip(_BLANKS)


def records(stream: TextIO, separator: str, is_row: IsRow) -> Iterator[Record]:
    """Every row from here on, numbered from 1.

    Args:
        stream: text whose lines end with ``\\n``.
        separator: one character.
        is_row: whether a line that a quoted value has taken in is a row: then the quotation mark was a slip.
    """
    lines = _Lines(stream)
    number = 0
    while (line := lines.next()) is not None:
        number += 1
        if len(line) >= _LINE_LIMIT_CHARACTERS:
            yield Record(number, [line[:80]], TOO_LONG)
        elif '"' not in line:
            yield Record(number, line.split(separator))
        else:
            cells, fault = _split_quoted(line, lines, separator, is_row)
            yield Record(number, cells, fault)


class _Lines:
    """Lines without their ends; some can be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._put_back: deque[str] = deque()

    def next(self) -> str | None:
        """The next line, or the beginning of one that is over the limit."""
        if self._put_back:
            return self._put_back.popleft()
        line = self._stream.readline(_LINE_LIMIT_CHARACTERS)
        if line.endswith("\n"):
            return line[:-1]
        rest = line
        while len(rest) == _LINE_LIMIT_CHARACTERS and not rest.endswith("\n"):
            rest = self._stream.readline(_LINE_LIMIT_CHARACTERS)
        return line or None

    def put_back(self, lines: list[str]) -> None:
        self._put_back.extendleft(reversed(lines))


def _split_quoted(line: str, lines: _Lines, separator: str, is_row: IsRow) -> tuple[list[str], str | None]:
    """The cells of a row with quotation marks, over as many lines as it has; a slip costs its first line alone."""
    taken_in: list[str] = []
    fault: str | None = NOT_CLOSED
    text, may_be_closed = line, True
    while True:
        if may_be_closed:
            try:
                cells = next(csv.reader([text], delimiter=separator, strict=True))
            except csv.Error as error:
                if "unexpected end" not in str(error):
                    fault = MISPLACED
                    break
            else:
                if not any(is_row(each.split(separator)) for each in taken_in):
                    return cells, None
                break
        if len(taken_in) == _QUOTED_LINES_LIMIT or (more := lines.next()) is None:
            break
        taken_in.append(more)
        if len(text) + len(more) >= _LINE_LIMIT_CHARACTERS:
            break
        text, may_be_closed = f"{text}\n{more}", '"' in more
    lines.put_back(taken_in)
    return line.split(separator), fault
