"""In which encoding a file is: UTF-8, UTF-16 or Windows-1252, judged by all of its bytes."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from wamsg2.contact_file.errors import ContactFileError

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 4096
#: Share of zero bytes on one side of every pair from which on a file without a mark is taken for UTF-16: half of its
#: letters are Latin.
_ZERO_SHARE = 0.5
_SAVE_AS = "save it as “CSV UTF-8” and import it again"


@dataclass(frozen=True, slots=True)
class Encoding:
    """A name for people, and Python's name of the codec that reads it."""

    name: str
    codec: str


UTF_8 = Encoding("utf-8", "utf-8-sig")
WINDOWS_1252 = Encoding("windows-1252", "cp1252")
_UTF_16_MARKED = Encoding("utf-16", "utf-16")
_UTF_16_LITTLE = Encoding("utf-16", "utf-16-le")
_UTF_16_BIG = Encoding("utf-16", "utf-16-be")


def detect(stream: BinaryIO) -> Encoding:
    """The encoding of everything from the stream's start on; the stream stands at its start again.

    Raises:
        ContactFileError: it is in none, or in two of them.
    """
    sample = _from_start(stream, _SAMPLE_BYTES)
    if (utf_16 := _utf_16(sample)) is not None:
        if (fault := _first_fault(stream, utf_16)) is not None:
            raise ContactFileError(f"line {fault.line} is damaged: the file is UTF-16 up to there; {_SAVE_AS}")
        return utf_16
    if (fault := _first_fault(stream, UTF_8)) is None:
        return UTF_8
    if fault.has_accents_before or sample.startswith(codecs.BOM_UTF8):
        raise ContactFileError(f"line {fault.line} is not UTF-8, but lines before it are; {_SAVE_AS}")
    if (neither := _first_fault(stream, WINDOWS_1252)) is not None:
        raise ContactFileError(f"line {neither.line} is neither UTF-8 nor Windows-1252; {_SAVE_AS}")
    return WINDOWS_1252


def _utf_16(sample: bytes) -> Encoding | None:
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _UTF_16_MARKED
    firsts, seconds = sample[0::2], sample[1::2]
    if seconds and seconds.count(0) > _ZERO_SHARE * len(seconds) and not firsts.count(0):
        return _UTF_16_LITTLE
    if firsts and firsts.count(0) > _ZERO_SHARE * len(firsts) and not seconds.count(0):
        return _UTF_16_BIG
    return None


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int
    has_accents_before: bool  #: or any other character that is not ASCII


def _first_fault(stream: BinaryIO, encoding: Encoding) -> _Fault | None:
    """Where the bytes stop being in an encoding; None: nowhere."""
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    line, has_accents = 1, False
    for chunk in _chunks(stream):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good: bytes = error.object[: error.start]  # with what the decoder had kept of the chunk before
            text = good.decode(encoding.codec, "ignore")
            return _Fault(line + text.count("\n"), has_accents or not text.isascii())
        line += text.count("\n")
        has_accents = has_accents or not text.isascii()
    return None


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """All of the stream, then nothing once; at the end it stands at its start."""
    stream.seek(0)
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
        yield b""
    finally:
        stream.seek(0)


def _from_start(stream: BinaryIO, size: int) -> bytes:
    stream.seek(0)
    sample = stream.read(size)
    stream.seek(0)
    return sample
