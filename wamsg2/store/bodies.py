"""Raw event bodies as rows hold them: packed with a dictionary of the words that nearly all of them share.

A row says how its body is packed: `PLAIN`, or the number of a dictionary. A dictionary is part of the file format: it
never changes, and a better one gets the next number. It holds the provider's field names, and nothing of anybody.
"""

import zlib
from collections.abc import Iterator
from functools import cache
from importlib import resources

from wamsg2.model import WamsgError

PLAIN = 0
_NEWEST = 1
#: Packings whose dictionary is here: ``packing_<n>.txt``, without its line ends.
_PACKINGS = (1,)
#: Nothing that comes in is larger: a webhook has up to 1 MiB, and a page of what we ask for up to 4 MiB.
_MOST_BYTES = 16 * 1024 * 1024
#: A stream begins with two bytes that say what it is; then comes the checksum of its dictionary.
_BEFORE_CHECKSUM_BYTES = 2


class DamagedBodyError(WamsgError):
    """A stored body cannot be read any more, or only a newer version of this program can read it."""


def pack(body: bytes) -> tuple[int, bytes]:
    """How a body is packed, and what to store; plain where that is shorter. Takes about 0.1 ms for 3 KB."""
    if len(body) <= _MOST_BYTES:
        packer = zlib.compressobj(zdict=_dictionary(_NEWEST))
        if len(packed := packer.compress(body) + packer.flush()) < len(body):
            return _NEWEST, packed
    return PLAIN, body


def unpack(packing: int, stored: bytes) -> bytes:
    """The body that `pack` was given.

    Raises:
        DamagedBodyError: it is not what was stored.
    """
    if packing == PLAIN:
        return stored
    if packing not in _PACKINGS:
        raise DamagedBodyError(f"packing {packing} is unknown")
    unpacker = zlib.decompressobj(zdict=_dictionary(packing))
    try:
        body = unpacker.decompress(stored, _MOST_BYTES)
    except zlib.error as error:
        raise DamagedBodyError(str(error)) from None
    if not unpacker.eof or unpacker.unused_data:
        raise DamagedBodyError("cut short, too long or followed by something")
    return body


def is_readable(packing: int, stored: bytes) -> bool:
    """Whether `unpack` gives the body."""
    try:
        unpack(packing, stored)
    except DamagedBodyError:
        return False
    return True


def remains_in(raw: bytes) -> Iterator[bytes]:
    """Every packed body that begins in these bytes, as far as it can be read: its end may be written over."""
    for packing in _PACKINGS:
        checksum = zlib.adler32(_dictionary(packing)).to_bytes(4, "big")
        found = raw.find(checksum, _BEFORE_CHECKSUM_BYTES)
        while found >= 0:
            yield _as_far_as_possible(packing, memoryview(raw)[found - _BEFORE_CHECKSUM_BYTES :])
            found = raw.find(checksum, found + 1)


def _as_far_as_possible(packing: int, raw: memoryview) -> bytes:
    try:
        return zlib.decompressobj(zdict=_dictionary(packing)).decompress(raw, _MOST_BYTES)
    except zlib.error:
        pass  # and nothing is given of the piece that held the fault: so byte by byte
    unpacker, body = zlib.decompressobj(zdict=_dictionary(packing)), b""
    try:
        for n in range(len(raw)):
            body += unpacker.decompress(raw[n : n + 1], _MOST_BYTES)
    except zlib.error:
        pass
    return body


@cache
def _dictionary(packing: int) -> bytes:
    text = resources.files("wamsg2.store").joinpath(f"packing_{packing}.txt").read_bytes()
    return b"".join(text.splitlines())
