"""Reading JSON: fast, and as forgiving as the standard library."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wamsg2.wassenger.fields import integer, load, moment, retention

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def reference(raw: bytes) -> tuple[bool, Any]:
    try:
        return True, json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False, None


def same(one: Any, other: Any) -> bool:
    """Whether two documents are equal, however deep they are."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
            pairs += [(left[key], right[key]) for key in left]
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            pairs += zip(left, right, strict=True)
        elif not same_leaf(left, right):
            return False
    return True


def same_leaf(one: Any, other: Any) -> bool:
    match one, other:
        case (dict() | list(), _) | (_, dict() | list()):
            return False
        case float(), float():
            return (math.isnan(one) and math.isnan(other)) or one == other
        case int(), float():  # beyond 64 bits: no id, no time and no number has so many
            return abs(one) >= 2**63
        case _:
            return type(one) is type(other) and bool(one == other)


def agrees(raw: bytes) -> None:
    is_json, expected = reference(raw)
    try:
        found = load(raw)
    except ValueError:
        assert not is_json
    else:
        assert is_json
        assert same(expected, found)


@given(values, st.booleans())
def test_it_reads_what_the_standard_library_reads(value: Any, is_ascii: bool) -> None:  # noqa: FBT001 - drawn
    agrees(json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=40) | st.text('[]{}":,.-+eE0123456789tfnul\\ \ud83d', max_size=30).map(
    lambda text: text.encode("utf-8", "surrogatepass")
))  # fmt: skip
def test_it_refuses_what_the_standard_library_refuses(raw: bytes) -> None:
    agrees(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'\xef\xbb\xbf{"a": 1}',  # a byte order mark
        b'{"a": "\\ud83d"}',  # half an emoji
        b'{"a": NaN, "b": -Infinity}',
        b'{"a": 1, "a": 2}',
        b"[" * 300 + b"]" * 300,
        b"[" * 1010 + b"]" * 1010,
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"",
        b"\xff",
        b"1 2",
    ],
)
def test_odd_ones(raw: bytes) -> None:
    agrees(raw)


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 1, -5, 9e15]
)
def test_a_time_that_nobody_can_mean_is_none(value: Any) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert moment(value) is None
    assert moment(value, at.isoformat()) == at, "the next one is asked"


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("never", timedelta(0)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("10d", timedelta(days=10)),
        ("plan_defaults", timedelta(days=1)),
        ("forever", None),
        ("5 m", None),
        ("m", None),
        (5, None),
        (None, None),
    ],
)
def test_retention(policy: Any, kept: timedelta | None) -> None:
    assert retention(policy) == kept


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), ("3", 3), (3.0, 3), (3.5, None), ("x", None), (None, None), (True, None)],
)
def test_integer(value: Any, number: int | None) -> None:
    assert integer(value) == number
