"""Phone numbers: what people type, one key for all national spellings, what the provider calls a number."""

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2 import phone
from wamsg2.phone import PhoneError

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
two_spellings = st.from_regex(r"\+(521[0-9]{10}|549[0-9]{10}|55[0-9]{2}9[0-9]{8})", fullmatch=True)


# --- one key for one number -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("+5215512340001", "+525512340001", id="Mexico"),
        pytest.param("+5491123456789", "+541123456789", id="Argentina"),
        pytest.param("+5511987654321", "+551187654321", id="Brazil, São Paulo"),
        pytest.param("+5548991234567", "+554891234567", id="Brazil, 9 before 9"),
        pytest.param("+5585960123456", "+558560123456", id="Brazil, 9 before 6"),
    ],
)
def test_both_spellings_of_a_number_have_one_key(one: str, other: str) -> None:
    assert phone.key(one) == phone.key(other) == other


@pytest.mark.parametrize("digit", "2345")
def test_the_ninth_digit_of_a_newer_brazilian_number_belongs_to_it(digit: str) -> None:
    """Without it, it would be somebody's landline."""
    mobile, landline = f"+55119{digit}3334444", f"+5511{digit}3334444"
    assert phone.key(mobile) == mobile
    assert phone.key(landline) == landline


@pytest.mark.parametrize("digit", "016789")
def test_the_ninth_digit_of_an_old_brazilian_mobile_is_one_of_two_spellings(digit: str) -> None:
    assert phone.key(f"+55119{digit}3334444") == f"+5511{digit}3334444"


@pytest.mark.parametrize(
    "number",
    [
        "+34600000001",
        "+15551234567",
        "+5255123400",  # Mexican, too short to have the 1
        "+52155123400012",  # too long
        "+521551234000",
        "+54911234567890",
        "+551198765432",
        "+5211234567890x",
        "5215512340001",  # not E.164
        "",
    ],
)
def test_other_numbers_are_their_own_key(number: str) -> None:
    assert phone.key(number) == number


@law
@given(numbers | two_spellings | st.text())
def test_a_key_is_its_own_key(number: str) -> None:
    assert phone.key(phone.key(number)) == phone.key(number)


@law
@given(two_spellings, two_spellings)
def test_different_keys_only_for_different_people(one: str, other: str) -> None:
    """Both have the same length, so equal keys of different numbers would be different people."""
    if len(one) == len(other) and one[:4] == other[:4]:
        assert (phone.key(one) == phone.key(other)) is (one == other)


# --- what a person types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "country", "e164"),
    [
        ("+34600000001", "", "+34600000001"),
        ("+34 600 000 001", "", "+34600000001"),
        ("  +34-600.000.001\t", "", "+34600000001"),
        ("+34 (600) 00-00-01", "", "+34600000001"),
        ("+34600000001", "FR", "+34600000001"),  # a plus outranks the default
        ("600000001", "ES", "+34600000001"),
        ("34600000001", "ES", "+34600000001"),
        ("0034 600000001", "ES", "+34600000001"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "", "+33612345678"),
        ("(555) 234-5678", "US", None),  # no such area code
        ("(202) 555-0143", "US", "+12025550143"),
        ("55 1234 0001", "MX", "+525512340001"),
        ("011 15 2345-6789", "AR", "+5491123456789"),
        ("11 98765-4321", "BR", "+5511987654321"),
    ],
)
def test_parse(text: str, country: str, e164: str | None) -> None:
    if e164 is None:
        with pytest.raises(PhoneError):
            phone.parse(text, country)
    else:
        assert phone.parse(text, country) == e164
        assert phone.parse(e164) == e164


@pytest.mark.parametrize(
    "number",
    ["+5215512340001", "+525512340001", "+5491123456789", "+541123456789", "+5511987654321", "+551187654321"],
)
def test_every_spelling_that_whatsapp_knows_may_be_imported_and_is_kept(number: str) -> None:
    assert phone.parse(number) == number


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "+", "-", "call me", "n/a", "12", "+12", "+3460000", "+34600", "+346000000012345", "+999600000001",
        "+34100000000", "1" * 300, "+34600000001; +34600000002", "+34600000001,+34600000002",
        "+34600000001 / +34600000002", "+34600000001/34600000002", "=cmd()", "6.00000001E+8", "None", "\ud83d",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    for country in ("", "ES"):
        with pytest.raises(PhoneError) as caught:
            phone.parse(text, country)
        assert not any(c.isdigit() for c in str(caught.value))


def test_a_number_without_a_country_says_what_is_missing() -> None:
    for text in ("600000001", "0034600000001"):
        with pytest.raises(PhoneError, match=r"contacts\.default_country"):
            phone.parse(text)
    with pytest.raises(PhoneError, match="not a phone number"):
        phone.parse("600000001", "XX")


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("22890123401.0", "TG"), ("+22890123401.0", ""), ("90123401,0", "TG"), ("90 12 34 01.0", "TG"),
        ("\u0669\u0660\u0661\u0662\u0663\u0664\u0660\u0661.\u0660", "TG"),  # Arabic digits
        ("'+22890123401", ""),  # Excel's mark of a text
        ("\u202a+22890123401\u202c", ""), ("\u200e+228 90 12 34 01\u200e", ""), ("+228\u200b90123401\ufeff", ""),
        ("+228\u00a090\u202f12\u200934 01", ""), ("\u2068+228\u00ad90123401\u2069", ""),
    ],
)  # fmt: skip
def test_what_programs_put_around_a_number_goes(text: str, country: str) -> None:
    assert phone.parse(text, country) == "+22890123401"


@pytest.mark.parametrize(
    ("text", "country"),
    [("62812345678", "ID"), ("62812345678.0", "ID"), ("4915123456789", "DE"), ("38343201234", "XK")],
)
def test_a_number_that_may_be_two_is_refused(text: str, country: str) -> None:
    with pytest.raises(PhoneError, match=r"can be read with and without its country code: write it with a \+"):
        phone.parse(text, country)
    with_plus = f"+{text.removesuffix('.0')}"
    assert phone.parse(with_plus, country) == with_plus
    national = f"0{text}"
    assert phone.parse(national, country).endswith(text.removesuffix(".0"))


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS - {"TA"}))  # of which there is no example
def test_a_mobile_number_without_its_plus_is_no_other_number(country: str) -> None:
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    for text in (e164[1:], f"{e164[1:]}.0"):
        try:
            assert phone.key(phone.parse(text, country)) == phone.key(e164)
        except PhoneError as error:
            assert "write it with a +" in str(error)  # noqa: PT017 - either is right


@law
@given(numbers, st.sampled_from(["", " ", "+"]), st.sampled_from([".0", ",0"]), st.sampled_from(["", "ID", "US"]))
def test_a_decimal_zero_never_makes_another_number(number: str, sign: str, zero: str, country: str) -> None:
    """It is the number without the zero, or none."""
    try:
        with_zero = phone.parse(sign + number[1:] + zero, country)
    except PhoneError:
        return
    assert with_zero == phone.parse(sign + number[1:], country)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2,29E+10", "Excel has shortened the number"),
        ("2.29E+10", "Excel has shortened the number"),
        ("6,28123E+11", "Excel has shortened the number"),
        ("3e10", "Excel has shortened the number"),
        ("62812345678.5", "a number with decimals"),
        ("62812345678.00", "a number with decimals"),
    ],
)
def test_numbers_that_a_program_has_spoilt(text: str, reason: str) -> None:
    for country in ("", "ID"):
        with pytest.raises(PhoneError, match=reason):
            phone.parse(text, country)


@pytest.mark.parametrize("text", ["+34 6OO OOO 001", "+34 600 CALL 01", "+1 800 FLOWERS", "mobile 600000001"])
def test_letters_are_not_digits(text: str) -> None:
    """An O for a zero would be another person's number."""
    with pytest.raises(PhoneError):
        phone.parse(text, "ES")


@pytest.mark.parametrize(
    "text",
    ["600000001;600000002", "+34600000001;ext=5", "+34600000001x12", "+34600000001#5", "abc +34600000001"],
)
def test_one_number_and_nothing_else(text: str) -> None:
    with pytest.raises(PhoneError):
        phone.parse(text, "ES")


@law
@given(st.text() | st.from_regex(r"[+0-9 ();,x/.-]{1,30}"), st.sampled_from(["", "ES", "US", "BR", "XX"]))
def test_parse_gives_a_number_that_can_be_posted_or_says_why_not(text: str, country: str) -> None:
    try:
        e164 = phone.parse(text, country)
    except PhoneError:
        return
    assert phone.from_digits(e164) == e164
    assert phone.parse(e164) == e164


# --- what the provider calls a number ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        ("34600000001", "+34600000001"),
        ("+34600000001", "+34600000001"),
        (" 34600000001\n", "+34600000001"),
        ("1234567", "+1234567"),
        ("123456789012345", "+123456789012345"),
        ("123456", None),
        ("1234567890123456", None),
        ("0034600000001", None),
        ("+0034600000001", None),
        ("34 600 000 001", None),
        ("++34600000001", None),
        ("34600000001@c.us", None),
        ("183000000000001@lid", None),
        ("DEVICE_PHONE", None),
        ("34600\u0660\u0660\u0660\u0660\u0660\u0661", None),
        ("٣٤٦٠٠٠٠٠٠٠١", None),
        ("+", None),
        ("", None),
    ],
)
def test_from_digits(text: str, e164: str | None) -> None:
    assert phone.from_digits(text) == e164


@law
@given(st.text() | st.text(alphabet="+0123456789 ٣²", max_size=20))
def test_from_digits_never_raises(text: str) -> None:
    e164 = phone.from_digits(text)
    assert e164 is None or phone.from_digits(e164) == e164


@law
@given(numbers)
def test_from_digits_knows_a_number_with_and_without_plus(number: str) -> None:
    assert phone.from_digits(number) == phone.from_digits(number[1:]) == number


# --- the short way ----------------------------------------------------------------------------------------------


EXAMPLES = sorted(
    {
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in phonenumbers.PhoneNumberType.values()
        if (example := phonenumbers.example_number_for_type(region, kind))
    }
)


def parsed(text: str) -> str | None:
    try:
        return phone.parse(text)
    except PhoneError:
        return None


@law
@given(st.sampled_from(EXAMPLES), st.integers(1, 12), st.text("0123456789", max_size=3))
def test_the_short_way_leads_where_the_long_one_does(example: str, at: int, put: str) -> None:
    """Of every country, with digits put over some: numbers with a trunk prefix, too long, of another kind."""
    text = example[:at] + put + example[at + len(put) :]
    short = parsed(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(phone, "_plain", lambda _: None)
        assert parsed(text) == short


@law
@given(st.sampled_from(EXAMPLES), st.integers(1, 5), st.text("0123456789", min_size=1, max_size=2))
def test_so_it_does_with_digits_between(example: str, at: int, put: str) -> None:
    text = example[:at] + put + example[at:]
    short = parsed(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(phone, "_plain", lambda _: None)
        assert parsed(text) == short
