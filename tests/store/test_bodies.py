"""Bodies come back as they were, whatever they are; what cannot be read any more is said, and costs no memory."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PAYLOADS, commit, memory
from wamsg2.model import EventResult, EventSource
from wamsg2.store import bodies, events, schema
from wamsg2.store.bodies import PLAIN, DamagedBodyError, pack, remains_in, unpack
from wamsg2.store.times import from_ms

#: Of every dictionary that was ever released: rows are packed with it.
RELEASED = {1: "0fa4929c34327357ce672d85c76d9aa75b984b1b960175e384a26fdba73dcf1d"}
EVENTS = sorted(path.name for path in PAYLOADS.glob("message_*.json"))
MIB = 1024 * 1024


def compact(name: str) -> bytes:
    """A captured body as the provider writes it."""
    captured = json.loads((PAYLOADS / name).read_bytes())
    return json.dumps(captured, ensure_ascii=False, separators=(",", ":")).encode()


#: Bytes of any kind, pieces of real bodies, and what packs well.
anything = st.one_of(
    st.binary(max_size=2000),
    st.sampled_from(EVENTS).map(compact).flatmap(lambda body: st.integers(0, len(body)).map(lambda n: body[n:])),
    st.binary(min_size=1, max_size=30).flatmap(lambda piece: st.integers(1, 500).map(lambda n: piece * n)),
)


@given(anything)
def test_what_is_packed_comes_back(body: bytes) -> None:
    packing, stored = pack(body)
    assert unpack(packing, stored) == body
    assert len(stored) <= len(body)


@given(anything)
def test_what_an_earlier_version_stored_is_as_it_was(body: bytes) -> None:
    """Also where it looks like something packed."""
    _, stored = pack(body)
    assert unpack(PLAIN, stored) == stored


@pytest.mark.parametrize("name", EVENTS)
def test_real_bodies_become_small(name: str) -> None:
    body = compact(name)
    assert len(pack(body)[1]) < len(body) / (6 if "out_ack" in name else 2.5)


def test_dictionaries_never_change() -> None:
    assert {n: hashlib.sha256(bodies._dictionary(n)).hexdigest() for n in bodies._PACKINGS} == RELEASED


def values(of: Any) -> Iterator[str]:
    """Every string in it that may be somebody's or something's own."""
    if isinstance(of, dict):
        for key, value in of.items():
            if key in _OWN and isinstance(value, str) and value:
                yield value
            yield from values(value)
    elif isinstance(of, list):
        for each in of:
            yield from values(each)


_OWN = {"id", "alias", "body", "message", "shortName", "displayName", "notifyName", "reference", "user", "entityId"}


def test_a_dictionary_tells_of_nobody() -> None:
    own = {value for path in PAYLOADS.glob("*.json") for value in values(json.loads(path.read_bytes()))}
    assert len(own) > 10
    for packing in bodies._PACKINGS:
        words = bodies._dictionary(packing)
        assert not re.search(rb"\d{4}|[0-9A-Fa-f]{12}", words)
        assert {value for value in own if f'"{value}"'.encode() in words} == set()


# --- what cannot be read -------------------------------------------------------------------------------------

PACKED = pack(compact("message_in_new.text.json"))[1]


@pytest.mark.parametrize(
    ("packing", "stored"),
    [
        (1, b""),
        (1, b"{}"),
        (1, PACKED[:-1]),
        (1, PACKED[:200]),
        (1, PACKED + b"\0"),
        (1, PACKED[:200] + bytes([PACKED[200] ^ 1]) + PACKED[201:]),
        (1, PACKED[:5] + b"\0" + PACKED[6:]),  # another dictionary
        (2, PACKED),  # a newer version's
        (1 << 40, PACKED),
    ],
)
def test_what_is_damaged_is_refused(packing: int, stored: bytes) -> None:
    with pytest.raises(DamagedBodyError):
        unpack(packing, stored)
    assert not bodies.is_readable(packing, stored)


def test_a_row_that_would_become_huge_is_damaged() -> None:
    packer = zlib.compressobj(zdict=bodies._dictionary(1))
    bomb = packer.compress(bytes(17 * MIB)) + packer.flush()
    with pytest.raises(DamagedBodyError):
        unpack(1, bomb)
    assert [len(body) for body in remains_in(bomb)] == [16 * MIB]


def test_what_is_larger_than_anything_that_comes_in_is_kept_plain() -> None:
    body = bytes(16 * MIB + 1)
    assert pack(body) == (PLAIN, body)
    assert unpack(*pack(body[:-1])) == body[:-1]


# --- what is left of one in some bytes -----------------------------------------------------------------------


def test_what_is_left_is_read_as_far_as_it_goes() -> None:
    body = compact("message_in_new.text.json")
    assert list(remains_in(b"before" + PACKED + b"behind" + PACKED)) == [body, body]
    (cut,) = remains_in(PACKED[: len(PACKED) // 2])
    assert len(cut) > 500
    assert body.startswith(cut)
    (overwritten,) = remains_in(PACKED[: len(PACKED) // 2] + b"\xff" * 50)
    assert overwritten.startswith(cut[:-40])


@given(st.binary(max_size=500))
def test_nothing_is_left_where_nothing_was(raw: bytes) -> None:
    assert list(remains_in(raw)) == []


# --- rows ----------------------------------------------------------------------------------------------------


def add(connection: Any, identity: bytes, body: bytes) -> None:
    commit(
        connection,
        lambda tx: events.add(
            tx,
            identity=identity,
            name="x",
            result=EventResult.ACCEPTED,
            source=EventSource.WEBHOOK,
            body=body,
            received_at=from_ms(0),
        ),
    )


def test_rows_of_the_version_before_are_read_beside_new_ones() -> None:
    old = [b"", b"{}", b"\xff no JSON", compact("message_in_new.text.json"), PACKED]
    with closing(schema.in_memory(1)) as connection:
        connection.executemany(
            """INSERT INTO events (identity, name, result, source, body, received_at)
               VALUES (?, 'x', 'accepted', 'webhook', ?, 0)""",
            ((bytes([n]), body) for n, body in enumerate(old)),
        )
        schema.migrate(connection)
        new = [compact("message_out_ack.reconstructed.json"), b"{}"]
        for n, body in enumerate(new):
            add(connection, bytes([100 + n]), body)
        rows = connection.execute("SELECT packing, body FROM events ORDER BY id").fetchall()
        assert [packing for packing, _ in rows] == [PLAIN] * len(old) + [1, PLAIN]
        assert [unpack(packing, stored) for packing, stored in rows] == [*old, *new]


def test_a_row_takes_little() -> None:
    with closing(memory()) as connection:
        add(connection, b"1", compact("message_in_new.text.json"))
        assert connection.execute("SELECT length(body) < 500 FROM events").fetchone() == (1,)
