"""People who were forgotten, as keyed hashes of their names: nothing brings back whom they stand for.

A name is the key of a number (also one that an earlier version made: see `phone.keys`) or a chat id. The hashes are
keyed with a random key of the database, so that they are worth nothing beside another one. Whoever holds the file can
still try numbers: it cannot be otherwise where a number is to be recognised.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from wamsg2.store.times import to_ms
from wamsg2.store.writer import Tx

_KEY = "forgotten"
_MOST_AT_ONCE = 500


def is_anybody(tx: Tx) -> bool:
    """Whether there is anybody to think of: where not, no webhook pays for it."""
    return _key(tx) is not None


def find(tx: Tx, names: Iterable[str]) -> str | None:
    """What the key of the contact is to whom one of these names belonged; None: they were not forgotten."""
    key = _key(tx)
    if key is None:
        return None
    hashes = [_hash(key, name) for name in names]
    for start in range(0, len(hashes), _MOST_AT_ONCE):
        some = hashes[start : start + _MOST_AT_ONCE]
        query = f"SELECT phone_hash FROM forgotten WHERE hash IN ({','.join('?' * len(some))}) LIMIT 1"  # noqa: S608 - question marks
        if row := tx.execute(query, some).fetchone():
            return bytes(row[0]).hex()
    return None


def add(tx: Tx, phone_key: str, chat_ids: Iterable[str], now: datetime) -> str:
    """Remember that the person with this number is to be forgotten; what the key of their contact is to be."""
    tx.execute("INSERT INTO keys (name, key) VALUES (?, randomblob(32)) ON CONFLICT DO NOTHING", (_KEY,))
    key = _key(tx)
    assert key is not None  # noqa: S101 - see above
    contact_key = _hash(key, phone_key).hex()
    add_names(tx, contact_key, (phone_key, *chat_ids), now)
    return contact_key


def add_names(tx: Tx, contact_key: str, names: Iterable[str], now: datetime) -> None:
    """These are names of the same person (see `find`) too."""
    if (key := _key(tx)) is not None:
        tx.executemany(
            "INSERT INTO forgotten (hash, phone_hash, forgotten_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            ((_hash(key, name), bytes.fromhex(contact_key), to_ms(now)) for name in names),
        )


def remove(tx: Tx, names: Sequence[str]) -> list[str]:
    """The person with these names is forgotten no more; what the keys of their contacts are, if they were."""
    contact_keys = []
    while (contact_key := find(tx, names)) is not None:
        tx.execute("DELETE FROM forgotten WHERE phone_hash = ?", (bytes.fromhex(contact_key),))
        contact_keys.append(contact_key)
    return contact_keys


def _key(tx: Tx) -> bytes | None:
    row = tx.execute("SELECT key FROM keys WHERE name = ?", (_KEY,)).fetchone()
    return None if row is None else bytes(row[0])


def _hash(key: bytes, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), key=key, digest_size=16).digest()
