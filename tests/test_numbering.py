"""Numbers of countries that gave everybody new ones: old and new are one person, and nobody else is."""

import random
import re
from itertools import product
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2 import numbering, phone
from wamsg2.numbering import RENUMBERED, SPELLINGS, Change

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_valid(e164: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(e164))
    except phonenumbers.NumberParseException:
        return False


def old_numbers(changes: tuple[Change, ...]) -> st.SearchStrategy[tuple[Change, str]]:
    """A row of the table, and an old number that it knows."""
    return st.sampled_from(changes).flatmap(
        lambda c: st.tuples(
            st.just(c), st.from_regex(re.compile(rf"\+{c.code}{c.area}{c.cut}{c.tail}", re.ASCII), fullmatch=True)
        )
    )


def old_numbers_of_every_prefix(change: Change) -> list[str]:
    """One for each three digits that can follow what was cut, of every length."""
    made = []
    for length, digits in product(range(5, 11), product("0123456789", repeat=3)):
        rest = "".join(random.Random(f"{length}{digits}").choices("0123456789", k=length - 3))
        if re.fullmatch(change.tail, tail := "".join(digits) + rest):
            made.append(f"+{change.code}{change.cut}{tail}")
    assert made
    return made


# --- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+22507123456", "+2250707123456"),  # Orange
        ("+22549123456", "+2250749123456"),
        ("+22598123456", "+2250798123456"),
        ("+22505123456", "+2250505123456"),  # MTN
        ("+22566123456", "+2250566123456"),
        ("+22595123456", "+2250595123456"),
        ("+22501123456", "+2250101123456"),  # Moov
        ("+22542123456", "+2250142123456"),
        ("+22573123456", "+2250173123456"),
        ("+22520012345", "+22520012345"),  # fixed, whose operator the number does not tell
        ("+22522412345", "+2252722412345"),  # fixed, Orange
        ("+22521812345", "+2252121812345"),  # fixed, Moov
        ("+22560123456", "+22560123456"),  # operators that are gone
        ("+22969123456", "+2290169123456"),
        ("+22997123456", "+2290197123456"),
        ("+22921312345", "+2290121312345"),
        ("+24106123456", "+24166123456"),
        ("+24102123456", "+24162123456"),
        ("+24105123456", "+24165123456"),
        ("+24107123456", "+24177123456"),
        ("+24104123456", "+24174123456"),
        ("+24101123456", "+24111123456"),
        ("+2417123456", "+24177123456"),
        ("+24103123456", "+24103123456"),  # where these went is not known
        ("+23777123456", "+237677123456"),
        ("+23799123456", "+237699123456"),
        ("+23722123456", "+23722123456"),  # fixed: two ways
        ("+2307123456", "+23057123456"),
        ("+2304212345", "+2304212345"),  # a fixed number today
        ("+593991234567", "+593991234567"),
        ("+59398123456", "+593998123456"),
        ("+20101234567", "+201001234567"),
        ("+20121234567", "+201221234567"),
        ("+20141234567", "+201141234567"),
        ("+201501234567", "+201501234567"),  # another network's today
        ("+995599123456", "+995599123456"),
        ("+99599123456", "+995599123456"),
        ("+689212345", "+68987212345"),
        ("+248512345", "+2482512345"),
        ("+248712345", "+2482712345"),
        ("+2686123456", "+26876123456"),
        ("+9743123456", "+97433123456"),
        ("+9747123456", "+97477123456"),
        ("+253812345", "+25377812345"),
        ("+6707231234", "+67077231234"),
        ("+5995201234", "+17215201234"),
        ("+5995551234", "+5995551234"),  # got other numbers
        ("+59997123456", "+59997123456"),  # Curaçao keeps the code
        ("+5712345678", "+576012345678"),
        ("+841691234567", "+84391234567"),
        ("+841201234567", "+84701234567"),
        ("+841291234567", "+84821234567"),
        ("+841881234567", "+84581234567"),
        ("+841991234567", "+84591234567"),
        ("+84901234567", "+84901234567"),
        ("+2287123456", "+2287123456"),  # Togo: two networks changed the same first digits to different ones
    ],
)
def test_old_and_new_are_one_person(old: str, new: str) -> None:
    assert phone.key(old) == phone.current(old) == new
    assert phone.key(new) == phone.current(new) == new
    assert {old, new} <= set(phone.spellings(new))
    assert phone.keys(old) == phone.keys(new)
    assert {old, new} <= set(phone.keys(new))


@pytest.mark.parametrize("change", RENUMBERED, ids=lambda c: f"{c.region} {c.cut}-{c.put}")
def test_no_old_number_is_somebody_elses_today(change: Change) -> None:
    # The library still takes the numbers that Gabon ended in April 2024; today's all have eight digits and no zero.
    if change.region == "GA":
        assert all(re.fullmatch(r"\+241(0\d{7}|[1-7]\d{6})", old) for old in old_numbers_of_every_prefix(change))
    else:
        assert [old for old in old_numbers_of_every_prefix(change) if is_valid(old)] == []


@pytest.mark.parametrize("change", RENUMBERED, ids=lambda c: f"{c.region} {c.cut}-{c.put}")
def test_new_numbers_are_of_todays_plan(change: Change) -> None:
    new = [phone.current(old) for old in old_numbers_of_every_prefix(change)]
    valid = [number for number in new if is_valid(number)]
    # Sint Maarten has given few of its numbers to anybody.
    assert len(valid) >= len(new) * (0.2 if change.region == "SX" else 0.99)


# --- laws ----------------------------------------------------------------------------------------------------


@law
@given(old_numbers((*SPELLINGS, *RENUMBERED)))
def test_a_key_is_its_own_key(known: tuple[Change, str]) -> None:
    change, old = known
    new = change.new(old)
    assert new is not None
    assert phone.key(old) == phone.key(new) == new
    assert change.old(new) == old
    assert {old, new} <= set(phone.spellings(new))
    assert all(phone.key(spelling) == new for spelling in phone.spellings(new))
    assert phone.keys(old)[0] == new


@law
@given(old_numbers(RENUMBERED))
def test_the_new_number_is_written_to(known: tuple[Change, str]) -> None:
    _, old = known
    assert phone.current(old) == phone.key(old)
    try:
        assert phone.parse(old) == phone.key(old)
    except phone.PhoneError:
        assert not is_valid(phone.key(old))


@law
@given(old_numbers(SPELLINGS))
def test_a_number_with_two_spellings_stays_as_it_is_written(known: tuple[Change, str]) -> None:
    _, written = known
    assert phone.current(written) == written
    assert phone.keys(written) == (phone.key(written),)


EXAMPLES = sorted(
    {
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in phonenumbers.PhoneNumberType.values()
        if (example := phonenumbers.example_number_for_type(region, kind))
    }
)
RENUMBERED_CODES = {change.code for change in RENUMBERED} - {"241"}


@law
@given(st.sampled_from(EXAMPLES), st.text("0123456789", max_size=9))
def test_a_valid_number_of_today_is_its_own_current_number(example: str, behind: str) -> None:
    """Of every region, with other digits behind."""
    number = example[: len(example) - len(behind)] + behind
    if is_valid(number) and not number.startswith("+241"):
        assert phone.current(number) == number
        assert not [o for o in phone.spellings(phone.key(number)) if is_valid(o) and phone.current(o) != o]


@law
@given(
    st.sampled_from([e for e in EXAMPLES if any(e.startswith(f"+{code}") for code in RENUMBERED_CODES)]),
    st.text("0123456789", min_size=1, max_size=8),
    st.text("0123456789", min_size=1, max_size=8),
)
def test_two_valid_numbers_of_a_country_are_two_people(example: str, one: str, other: str) -> None:
    first, second = (example[: len(example) - len(digits)] + digits for digits in (one, other))
    if first != second and is_valid(first) and is_valid(second):
        assert phone.key(first) != phone.key(second) or {first, second} <= set(phone.spellings(phone.key(first)))
        # Only the countries with two spellings in use have two valid numbers for one person.
        if not first.startswith(("+52", "+54", "+55")):
            assert phone.key(first) != phone.key(second)


def test_country_codes_do_not_overlap() -> None:
    """The rows are found by the code: none may begin with another."""
    codes = {change.code for change in (*SPELLINGS, *RENUMBERED)} | {c.code_today for c in RENUMBERED}
    assert not [(a, b) for a in codes for b in codes if a != b and a.startswith(b)]


@law
@given(st.text(max_size=20) | st.from_regex(r"\+[0-9]{0,16}", fullmatch=True))
def test_anything_has_a_key(text: str) -> None:
    assert phone.key(phone.key(text)) == phone.key(text)
    assert phone.key(text) in phone.keys(text)
    assert numbering.changes_from(text) == () or phone.key(text) != ""


# --- what people type ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "country", "e164"),
    [
        ("+225 07 12 34 56", "", "+2250707123456"),
        ("07 12 34 56", "CI", "+2250707123456"),
        ("07 07 12 34 56", "CI", "+2250707123456"),
        ("0022507123456", "CI", "+2250707123456"),
        ("+229 97 12 34 56", "", "+2290197123456"),
        ("97 12 34 56", "BJ", "+2290197123456"),
        ("01 97 12 34 56", "BJ", "+2290197123456"),
        ("+241 07 28 01 50", "", "+24177280150"),
        ("+2417280150", "", "+24177280150"),
        ("07 28 01 50", "GA", "+24177280150"),
        ("077 28 01 50", "GA", "+24177280150"),
        ("+237 99 12 34 56", "", "+237699123456"),
        ("99123456", "CM", "+237699123456"),
        ("0169 333 9999", "VN", "+84393339999"),
        ("010 123 4567", "EG", "+201001234567"),
        ("0100 123 4567", "EG", "+201001234567"),
        ("312 3456", "QA", "+97433123456"),
        ("+599 520 1234", "", "+17215201234"),
    ],
)
def test_an_old_number_is_taken_for_the_new_one(text: str, country: str, e164: str) -> None:
    assert phone.parse(text, country) == e164
    assert phone.parse(e164) == e164


def test_every_row_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "numbering.md").read_text(encoding="utf-8")
    for change in RENUMBERED:
        assert re.search(rf"\| {change.region} \| {change.since} \|", page), change.region
