"""The columns of a contacts file: which holds the phone numbers, and which the variables of the messages."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wamsg2 import template

#: The documented name: it is taken whatever the other columns are called.
_PHONE = "phone"
#: Words of which one makes a column's name that of phone numbers, as `_words` writes them.
_PHONE_WORDS = frozenset(
    [
        *("phone", "phones", "phonenumber", "mobile", "mobilenumber", "cell", "cellphone", "telephone", "tel"),
        *(
            "whatsapp",
            "whats",
            "wa",
            "gsm",
            "msisdn",
            "portable",
            "telefono",
            "celular",
            "movil",
            "telefone",
            "telemovel",
        ),
        *("telefon", "telefonnummer", "handy", "handynummer", "mobil", "mobilnummer", "rufnummer", "cellulare"),
        *("هاتف", "الهاتف", "جوال", "الجوال", "واتساب"),
    ]
)
#: Words that mean it where no other column is a better one.
_VAGUE_WORDS = frozenset(["numero", "number", "num", "contact", "رقم"])
#: Words that may stand beside those.
_FILLERS = _VAGUE_WORDS | frozenset(["n", "no", "nr", "de", "du", "do", "del", "primary", "value", "app", "1"])
#: Columns that an import added to the rows that it refused: read over when they come back.
REFUSAL_COLUMNS = ("refused row", "refused column", "refused value", "refused because")

_LISTED_COLUMNS = 20
_LISTED_CHARACTERS = 40
_NEAR = 0.7
_PHONE_DIGITS = 7  #: in a cell that is a phone number


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The columns of a file, by position from 0."""

    cells: Sequence[str]  #: as they are written
    phone: int
    phone_name: str
    variables: Sequence[tuple[int, str]]

    def values(self, cells: Sequence[str]) -> dict[str, str]:
        """A row's variables by the names of their columns; a cell that the row does not have is empty."""
        width = len(cells)
        return {name: cells[at].strip() if at < width else "" for at, name in self.variables}

    def number(self, cells: Sequence[str]) -> str:
        """What a row has for a phone number."""
        return cells[self.phone].strip() if self.phone < len(cells) else ""

    def has_room_for(self, cells: Sequence[str]) -> bool:
        """Whether every value stands below a column; empty cells behind the last one do not count."""
        return len(cells) <= len(self.cells) or not any(cell.strip() for cell in cells[len(self.cells) :])

    def cell(self, cells: Sequence[str], name: str) -> str:
        """What a row has in the column of this name; empty where there is none."""
        return next((cells[at].strip() for at, column in self._columns() if column == name and at < len(cells)), "")

    def _columns(self) -> Iterator[tuple[int, str]]:
        yield self.phone, self.phone_name
        yield from self.variables

    def is_row(self, cells: Sequence[str]) -> bool:
        """Whether cells look like a row of this file: enough of them, with a phone number where one belongs."""
        return len(cells) >= len(self.cells) and has_phone_digits(self.number(cells))


class HeaderError(ValueError):
    """The columns are not what the messages need; the message says all that is wrong, and what columns there are."""


def read(cells: Sequence[str], *, needed: Sequence[str], phone_column: str | None) -> Header:
    """Find the columns.

    Args:
        cells: the header row.
        needed: the variables of the messages.
        phone_column: the name that the user gave, else the usual names are looked for.

    Raises:
        HeaderError: with everything that is wrong.
    """
    named = [
        (at, name) for at, cell in enumerate(cells) if (name := template.tidy(cell)) and not is_refusal_column(name)
    ]
    faults = _repeated(named)
    candidates = _phone_columns(named, phone_column)
    if not candidates:
        faults.append(_no_phone_column(named, phone_column))
    elif len(candidates) > 1 and not (phone_column and faults):
        names = " and ".join(_quoted(name) for _, name in candidates)
        faults.append(f"{names} may hold the phone numbers: say which with --phone-column.")
    others = [(at, name) for at, name in named if candidates[:1] != [(at, name)]]
    faults += [fault for name in needed if (fault := _missing(name, others, candidates))]
    if faults:
        raise HeaderError(" ".join([*faults, f"The file has: {_listed(named)}."]))
    (phone, phone_name) = candidates[0]
    return Header(cells=tuple(cells), phone=phone, phone_name=phone_name, variables=tuple(others))


def is_refusal_column(name: str) -> bool:
    """Whether an import added this column to the rows that it refused."""
    return template.fold(name) in REFUSAL_COLUMNS


def has_phone_digits(text: str) -> bool:
    """Whether there are as many digits as a phone number has, and hardly anything else."""
    digits = sum(map(str.isdigit, text))
    return digits >= _PHONE_DIGITS and not any(map(str.isalpha, text))


def _repeated(named: Sequence[tuple[int, str]]) -> list[str]:
    spellings: dict[str, list[str]] = {}
    for _, name in named:
        spellings.setdefault(template.fold(name), []).append(name)
    faults = []
    for names in spellings.values():
        if len(names) > 1 and len(set(names)) == 1:
            faults.append(f"The column {_quoted(names[0])} is there {_times(len(names))}: rename or remove one.")
        elif len(names) > 1:
            faults.append(f"{' and '.join(map(_quoted, names))} are one name to a message: rename one.")
    return faults


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _phone_columns(named: Sequence[tuple[int, str]], phone_column: str | None) -> list[tuple[int, str]]:
    if phone_column is not None:
        return [(at, name) for at, name in named if template.fold(name) == template.fold(phone_column)]
    by_words = [(at, name, _words(name)) for at, name in named]
    documented = [(at, name) for at, name, words in by_words if words == [_PHONE]]
    usual = [(at, name) for at, name, words in by_words if _are_of(words, _PHONE_WORDS)]
    return documented or usual or [(at, name) for at, name, words in by_words if _are_of(words, _VAGUE_WORDS)]


def _are_of(words: Sequence[str], wanted: AbstractSet[str]) -> bool:
    """Whether a name is made of one or more of these words, and otherwise of fillers."""
    return not wanted.isdisjoint(words) and wanted | _FILLERS >= set(words)


def _words(name: str) -> list[str]:
    """Its words without case and accents: `N° de téléphone` is n, de, telephone; `PhoneNumber` is phone, number."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("°", " ").replace("º", " "))
    decomposed = unicodedata.normalize("NFKD", apart.casefold())
    return re.findall(r"[^\W_]+", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _no_phone_column(named: Sequence[tuple[int, str]], phone_column: str | None) -> str:
    if phone_column is not None:
        return f"There is no column {_quoted(phone_column)} (--phone-column)."
    if any(has_phone_digits(name) for _, name in named):
        return "The first row holds a phone number: put a row with the names of the columns above it (phone, …)."
    return "There is no column with phone numbers: name it phone, or say which it is with --phone-column."


def _missing(name: str, others: Sequence[tuple[int, str]], phones: Sequence[tuple[int, str]]) -> str | None:
    folded = {template.fold(column): column for _, column in others}
    if template.fold(name) in folded:
        return None
    if len(phones) == 1 and template.fold(phones[0][1]) == template.fold(name):
        return f"{_quoted(name)} holds the phone numbers: a message cannot use {{{{{name}}}}}."
    near = next((column for column in folded.values() if _words(column) == _words(name)), None)
    if near is None:
        close = difflib.get_close_matches(template.fold(name), list(folded), n=1, cutoff=_NEAR)
        near = folded[close[0]] if close else None
    there = f" There is {_quoted(near)}: write {{{{{near}}}}}." if near else ""
    return f"There is no column {_quoted(name)}, but a message uses it.{there}"


def _quoted(name: str) -> str:
    """A name as it is, short; in quotation marks where it would not be seen as one."""
    short = name if len(name) <= _LISTED_CHARACTERS else f"{name[: _LISTED_CHARACTERS - 1]}…"
    return short if short.isalnum() else f"“{short}”" if short.isprintable() else repr(short)


def _listed(named: Sequence[tuple[int, str]]) -> str:
    if not named:
        return "no named column"
    more = ", …" if len(named) > _LISTED_COLUMNS else ""
    return ", ".join(_quoted(name) for _, name in named[:_LISTED_COLUMNS]) + more
