"""Phone numbers: what a person types, what we post, and the one key of all national spellings of a number.

Three countries write the mobile numbers that WhatsApp knows in two ways: Mexico (``+52 1`` until 2019), Argentina
(``+54 9`` from abroad) and Brazil (a ninth digit in front of old eight-digit mobiles, since 2012).
"""

import re

import phonenumbers

_MEXICO = re.compile(r"\+521(\d{10})")
_ARGENTINA = re.compile(r"\+549(\d{10})")
# A ninth digit in front of 2-5 is part of a newer number: without it, it would be somebody's landline.
_BRAZIL = re.compile(r"\+55(\d{2})9([016-9]\d{7})")
_WRITTEN = re.compile(r"[\s+\d().\-\u2010-\u2015\uff0b]*")  # no letters: a keypad would make 6 of an O
_PLAIN = re.compile(r"\+[1-9]\d{7,14}", re.ASCII)
_DIGITS = re.compile(r"\+?([1-9]\d{6,14})", re.ASCII)


class PhoneError(ValueError):
    """Not a phone number that can be written to; the message says why, without the number."""


def parse(text: str, default_country: str = "") -> str:
    """What a person typed, as E.164 (``+34600000001``).

    Args:
        text: a number, with ``+`` or as dialled in the default country.
        default_country: two-letter region for numbers without ``+``, or empty.

    Raises:
        PhoneError: not a valid number.
    """
    if (plain := _plain(text)) is not None and phonenumbers.is_valid_number(plain):
        return text
    if not _WRITTEN.fullmatch(text):
        raise PhoneError("not a phone number")
    try:
        number = phonenumbers.parse(text, default_country or None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not default_country:
            raise PhoneError("no country code (write +…, or set contacts.default_country)") from None
        raise PhoneError("not a phone number") from None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # The library knows one spelling of each number; a valid key means that ours is another of the same.
    if not phonenumbers.is_valid_number(number) and not _is_valid(key(written)) and not _is_old_brazilian(written):
        raise PhoneError("not a valid phone number of its country")
    return written


def key(e164: str) -> str:
    """One spelling for all national spellings of one number: equal keys, same person."""
    if match := _MEXICO.fullmatch(e164):
        return f"+52{match[1]}"
    if match := _ARGENTINA.fullmatch(e164):
        return f"+54{match[1]}"
    if match := _BRAZIL.fullmatch(e164):
        return f"+55{match[1]}{match[2]}"
    return e164


def spellings(phone_key: str) -> tuple[str, ...]:
    """Every E.164 number whose `key` is this one, the key itself first."""
    country, area, rest = phone_key[:3], phone_key[3:5], phone_key[5:]
    others = {"+52": f"+521{area}{rest}", "+54": f"+549{area}{rest}", "+55": f"+55{area}9{rest}"}
    other = others.get(country)
    return (phone_key, other) if other and key(other) == phone_key else (phone_key,)


def from_digits(text: str) -> str | None:
    """E.164 from what the provider calls a number (``34600000001``, ``+34600000001``), or None."""
    match = _DIGITS.fullmatch(text.strip())
    return "+" + match[1] if match else None


def _plain(text: str) -> phonenumbers.PhoneNumber | None:
    """The number where it is written as we write it: most are, and the library takes thrice as long to read them.

    Not with a zero behind the country code: that may belong to the number (Italy) or not.
    """
    if not _PLAIN.fullmatch(text):
        return None
    for end in (2, 3, 4):  # no code begins with another
        code, national = int(text[1:end]), text[end:]
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return None if national[0] == "0" else phonenumbers.PhoneNumber(code, int(national))
    return None


def _is_valid(e164: str) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(e164))


def _is_old_brazilian(e164: str) -> bool:
    """An eight-digit mobile, as WhatsApp still writes many: valid once its ninth digit is put back."""
    match = re.fullmatch(r"\+55(\d{2})([6-9]\d{7})", e164)
    return match is not None and _is_valid(f"+55{match[1]}9{match[2]}")
