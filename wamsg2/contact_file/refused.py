"""The rows that an import refused, as a file that can be mended and imported again."""

import csv
from collections.abc import Sequence
from typing import TextIO

from wamsg2.contact_file.delimited import Record
from wamsg2.contact_file.header import REFUSAL_COLUMNS, Header, is_refusal_column

#: Of a file that was made from a workbook: what Excel expects wherever numbers have a decimal comma.
_SEPARATOR = ";"
#: Lets Excel see that the file is UTF-8.
_MARK = "\ufeff"


class RefusedRows:
    """Writes each row as it was, behind its number, the column, the value and the reason."""

    def __init__(self, stream: TextIO, header: Header, separator: str | None) -> None:
        stream.write(_MARK)
        self._writer = csv.writer(stream, delimiter=separator or _SEPARATOR)
        self._header = header
        # Where the rows were refused before, the reasons of that time go.
        self._old = {at for at, cell in enumerate(header.cells) if is_refusal_column(cell)}
        self._writer.writerow((*REFUSAL_COLUMNS, *self._without_old(header.cells)))

    def add(self, record: Record, column: str, reason: str) -> None:
        """Write a row."""
        value = self._header.cell(record.cells, column)
        self._writer.writerow((record.number, column, value, reason, *self._without_old(record.cells)))

    def _without_old(self, cells: Sequence[str]) -> list[str]:
        return [cell for at, cell in enumerate(cells) if at not in self._old]
