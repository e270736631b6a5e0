"""National numbering plans that changed while WhatsApp accounts kept the old number, as one table, old to new.

WhatsApp calls an account by the number that it was registered with, for years after the country has changed its
numbers: a contact ``+2250707123456`` may write as ``22507123456``. `docs/numbering.md` has dates and sources.

A row is only here if no number of today's plan, which belongs to another person, has the old form.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Numbers that lost the digits `cut`, or got the digits `put`, at one place.

    Attributes:
        region: two letters.
        since: the day (or year) on which the new numbers came into use; empty where both spellings stay in use.
        code: country code.
        area: pattern of the area code, where the change comes behind it.
        tail: pattern of the digits behind the change.
        new_code: country code of today, where it is another.
    """

    region: str
    since: str = ""
    code: str
    area: str = ""
    cut: str = ""
    put: str = ""
    tail: str
    new_code: str = ""
    _old: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _new: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile both patterns."""
        for name, code, middle in (("_old", self.code, self.cut), ("_new", self.code_today, self.put)):
            pattern = re.compile(rf"\+{code}({self.area}){middle}({self.tail})", re.ASCII)
            object.__setattr__(self, name, pattern)

    @property
    def code_today(self) -> str:
        """Country code of the new numbers."""
        return self.new_code or self.code

    def new(self, e164: str) -> str | None:
        """The number of today; None where the row says nothing of this one."""
        match = self._old.fullmatch(e164)
        return f"+{self.code_today}{match[1]}{self.put}{match[2]}" if match else None

    def old(self, e164: str) -> str | None:
        """The number as it was; None where the row says nothing of this one."""
        match = self._new.fullmatch(e164)
        return f"+{self.code}{match[1]}{self.cut}{match[2]}" if match else None


def _rows(region: str, since: str, code: str, *moves: tuple[str, str, str]) -> Iterator[Change]:
    """The rows of one change: what went, what came, and the pattern of what stayed."""
    return (Change(region=region, since=since, code=code, cut=cut, put=put, tail=tail) for cut, put, tail in moves)


#: Both spellings are in use, and WhatsApp may know an account by either.
SPELLINGS = (
    *_rows("MX", "", "52", ("1", "", r"\d{10}")),  # the 1 of mobiles, until 2019
    *_rows("AR", "", "54", ("9", "", r"\d{10}")),  # the 9 of mobiles, from abroad
    # The ninth digit of mobiles, 2012 to 2016. In front of 2 to 5 it is part of a newer number: without it, it would
    # be another person's landline.
    Change(region="BR", code="55", area=r"\d\d", cut="9", tail=r"[016-9]\d{7}"),
)

#: The old number is out of use: the new one is what people write and what we write to.
RENUMBERED = (
    *_rows(
        "CI", "2021-01-31", "225",
        ("", "01", r"(?:0[1-3]|[457][0-3])\d{6}"),  # Moov; who had the few 60, 61 and 69 is not known
        ("", "05", r"(?:0[4-6]|[4-9][4-6])\d{6}"),  # MTN
        ("", "07", r"(?:0[7-9]|[4578][7-9]|6[78]|9[78])\d{6}"),  # Orange
        ("", "21", r"2[0-3]8\d{5}"),  # fixed, Moov
        ("", "27", r"(?:2(?:0[23]|1[2357]|2[245]|3[45]|4[3-5])|3(?:06|1[69]|[2-6]7))\d{5}"),  # fixed, Orange
    ),
    *_rows("BJ", "2024-11-30", "229", ("", "01", r"[24-69]\d{7}")),
    *_rows(
        "GA", "2019-11-15", "241",
        # From abroad they were written with the 0 and without it.
        *((zero, "6", r"[256]\d{6}") for zero in ("0", "")),
        *((zero, "7", r"[47]\d{6}") for zero in ("0", "")),
        *((zero, "1", r"1\d{6}") for zero in ("0", "")),
    ),
    *_rows("CM", "2014-11-21", "237", ("", "6", r"[5-79]\d{7}")),  # fixed: 22 and 33 went two ways each
    *_rows("PF", "2014-06-23", "689", ("", "87", r"[237]\d{5}")),
    *_rows(
        "MU", "2013-09-01", "230",
        ("", "5", r"(?:25\d|49[1-9]|7\d\d|87[15-8]|9[1-8]\d)\d{4}"),  # without 42: fixed numbers begin so today
    ),
    *_rows("TL", "2013-01-01", "670", ("", "7", r"7[1-9]\d{5}")),  # 70 is no mobile network
    *_rows("EC", "2012-09-30", "593", ("", "9", r"[89]\d{7}")),
    *_rows("DJ", "2012", "253", ("", "77", r"[678]\d{5}")),
    *_rows(
        "EG", "2011-10-06", "20",
        ("1", "10", r"[069]\d{7}"),  # Vodafone
        ("1", "11", r"[14]\d{7}"),  # Etisalat
        ("1", "12", r"[278]\d{7}"),  # Mobinil; 015 is another network's today
    ),
    # Those in 555 got other numbers.
    Change(region="SX", since="2011-09-30", code="599", new_code="1", put="721", tail=r"5(?!55)\d{6}"),
    *_rows(
        "SC", "2011-05-04", "248",
        ("", "2", r"[57]\d{5}"), ("", "4", r"[236]\d{5}"),
    ),
    *_rows("GE", "2011-05", "995", ("", "5", r"(?:5[01578]|68|7[0147-9]|9[135-9])\d{6}")),
    *_rows("SZ", "2010-03-01", "268", ("", "7", r"6\d{6}"), ("", "2", r"[2-5]\d{6}")),
    *_rows("QA", "2010-07-28", "974", *(("", digit, rf"{digit}\d{{6}}") for digit in "34567")),
    *_rows("CO", "2021-09-01", "57", ("", "60", r"(?!46)[124-8][2-9]\d{6}")),  # fixed
    *_rows(
        "VN", "2018-09-15", "84",
        *((f"16{digit}", f"3{digit}", r"\d{7}") for digit in "23456789"),
        *((old, new, r"\d{7}") for old, new in (
            ("120", "70"), ("121", "79"), ("122", "77"), ("126", "76"), ("128", "78"),
            ("123", "83"), ("124", "84"), ("125", "85"), ("127", "81"), ("129", "82"),
            ("186", "56"), ("188", "58"), ("199", "59"),
        )),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Country:
    """The rows of a country code, and a pattern of all numbers that one of them may know: most are of today."""

    rows: tuple[Change, ...]
    any_of_them: re.Pattern[str]


def _by_code(side: Callable[[Change], tuple[str, str]]) -> dict[str, _Country]:
    rows: dict[str, list[Change]] = defaultdict(list)
    patterns: dict[str, list[str]] = defaultdict(list)
    for change in (*SPELLINGS, *RENUMBERED):
        code, middle = side(change)
        rows[code].append(change)
        patterns[code].append(f"{change.area}{middle}{change.tail}")
    return {
        code: _Country(tuple(rows[code]), re.compile(rf"\+{code}(?:{'|'.join(patterns[code])})", re.ASCII))
        for code in rows
    }


_FROM = _by_code(lambda change: (change.code, change.cut))
_TO = _by_code(lambda change: (change.code_today, change.put))


def changes_from(e164: str) -> tuple[Change, ...]:
    """The rows of the country that the number had, if it can be an old one."""
    # No country code begins with another.
    country = _FROM.get(e164[1:4]) or _FROM.get(e164[1:3])
    return country.rows if country and country.any_of_them.fullmatch(e164) else ()


def changes_to(e164: str) -> tuple[Change, ...]:
    """The rows of the country that the number has, if it can be a new one."""
    country = _TO.get(e164[1:4]) or _TO.get(e164[1:3]) or _TO.get(e164[1:2])
    return country.rows if country and country.any_of_them.fullmatch(e164) else ()
