"""Which rows of a contacts file can be taken: a number that can be written to, and a text that can be filled in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wamsg2 import phone, template
from wamsg2.characters import has_control_character
from wamsg2.contact_file.delimited import Record
from wamsg2.contact_file.header import Header
from wamsg2.work.campaigning import Row

#: What Excel writes where a formula has no value, in English and in French.
_EXCEL_ERROR = re.compile(
    r"#(N/A|REF!|VALUE!|VALEUR!|NAME\?|NOM\?|DIV/0!|NULL!|NUL!|NUM!|NOMBRE!|SPILL!|CALC!)", re.IGNORECASE
)
#: Of a refusal that is about a whole row.
WHOLE_ROW = "-"


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken: its number as Excel shows it, the column, and why."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Turns records into rows, by the columns of their file and the texts of their campaign."""

    header: Header
    needed: Sequence[str]  #: variables of the texts
    texts: Sequence[str]
    country: str  #: region of numbers without a plus, or empty

    def __call__(self, record: Record) -> Row | Refused:
        """The row, or the first thing that is wrong with it."""
        header, number, cells = self.header, record.number, record.cells
        if record.fault is not None:
            return Refused(number, WHOLE_ROW, record.fault)
        if len(cells) > len(header.cells) and not header.has_room_for(cells):
            return Refused(number, WHOLE_ROW, f"{len(cells)} columns, the header has {len(header.cells)}")
        written = header.number(cells)
        if not written:
            return Refused(number, header.phone_name, "no phone number")
        try:
            e164 = phone.parse(written, self.country)
        except phone.PhoneError as error:
            return Refused(number, header.phone_name, str(error))
        values = header.values(cells)
        return self._refusal(number, values) or Row(number, e164, phone.key(e164), values)

    def _refusal(self, number: int, values: dict[str, str]) -> Refused | None:
        for name, value in values.items():
            if has_control_character(value):
                return Refused(number, name, "a control character that nobody can see: type the value again")
        for name in self.needed:
            column = self._column(name, values)
            if not values[column]:
                return Refused(number, column, "no value, but a message uses it")
            if _EXCEL_ERROR.fullmatch(values[column]):
                return Refused(number, column, "an error of Excel, no value")
        for text in self.texts:
            try:
                template.render(text, values)
            except template.TemplateError as error:
                return Refused(number, WHOLE_ROW, str(error))
        return None

    @staticmethod
    def _column(name: str, values: dict[str, str]) -> str:
        if name in values:
            return name
        return next(column for column in values if template.fold(column) == template.fold(name))
