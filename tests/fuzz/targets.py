"""What is fuzzed: each target takes any bytes, and raises where the product breaks a promise."""

import hashlib
import io
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from yarl import URL

from tests.support import PAYLOADS, commit, memory
from wamsg2 import phone, template
from wamsg2.contact_file import reading
from wamsg2.contact_file.errors import ContactFileError
from wamsg2.contact_file.refused import RefusedRows
from wamsg2.model import Accepted, EventSource, Policy, Start
from wamsg2.store import campaigns as campaign_rows
from wamsg2.store.writer import Tx
from wamsg2.wassenger import events, signature
from wamsg2.work import campaigning, claiming, receiving, settling
from wamsg2.work.campaigning import CHUNK_ROWS, Row
from wamsg2.work.judging import Judge
from wamsg2.work.signals import NO_SIGNALS

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"
#: The time of the captured payloads.
_NOW = datetime(2025, 12, 13, 16, 16, tzinfo=UTC)
_POLICY = Policy()


@contextmanager
def _rolled_back(connection: sqlite3.Connection) -> Iterator[Tx]:
    """A transaction that leaves no trace, so that every input meets the same database."""
    connection.execute("BEGIN")
    try:
        yield Tx(connection)
    finally:
        connection.execute("ROLLBACK")


# --- webhook ----------------------------------------------------------------------------------------------------


def _prepare(connection: sqlite3.Connection) -> None:
    """The contact of the captured payloads with a Message 1 that they are about, and one that nobody knows of."""
    for name in ("spring", "autumn"):
        key = hashlib.sha256(name.encode()).hexdigest()[:32]
        add = partial(campaign_rows.add, name=name, key=key, message_1="Hello", message_2="More", now=_NOW)
        commit(connection, add)
        number = "+5215600000001"
        rows = [Row(2, number, phone.key(number), {})]
        commit(connection, partial(campaigning.add_rows, name=name, rows=rows, now=_NOW))
        commit(connection, partial(campaigning.prepare_launch, name=name, after_contact_id=0, now=_NOW))
        commit(connection, partial(campaigning.finish_launch, name=name, now=_NOW))
    claim = partial(claiming.claim, now=_NOW, due_before=_NOW, most=2, limit=None)
    first, _sending = commit(connection, claim).claims
    accepted = Accepted("675c5f0a1b2c3d4e5f600001", "3EB0A1B2C3D4E5F60001")
    start = Start(_NOW - timedelta(minutes=1), timedelta(seconds=1))
    settle = partial(settling.settle, claim=first, outcome=accepted, start=start, now=_NOW, policy=_POLICY)
    commit(connection, settle)


@contextmanager
def webhook(_scratch: Path) -> Iterator[Target]:
    """Whatever a body says, it is refused as no event or stored with its effects; so is what comes after it."""
    ordinary = [
        events.parse((PAYLOADS / name).read_bytes())
        for name in ("message_out_ack.reconstructed.json", "message_in_new.text.json")
    ]
    take_in = partial(receiving.receive_row, arrived_at=_NOW, policy=_POLICY, signals=NO_SIGNALS)

    def check(body: bytes) -> None:
        try:
            row = events.parse_row(body, device=None)
        except events.NotAnEventError:
            return
        with _rolled_back(connection) as tx:
            take_in(tx, row, source=EventSource.WEBHOOK)
            # What an event leaves behind is read by those that follow: none may be poisoned by it.
            take_in(tx, ordinary, source=EventSource.WEBHOOK)

    with closing(memory()) as connection:
        _prepare(connection)
        yield check


# --- secrets ----------------------------------------------------------------------------------------------------

_SECRETS = ("s3cret", "pässwörd-é", "🔑+&=%25")


@contextmanager
def secrets(_scratch: Path) -> Iterator[Target]:
    """Query, header, signature (a line each) and body: let in by the right words only, and nothing raises."""

    def check(data: bytes) -> None:
        query, header, signed, body = (data.split(b"\n", 3) + [b""] * 4)[:4]
        # As aiohttp reads a request.
        target = URL.build(path="/", query_string=_decoded(query), encoded=True)
        for given in (target.query.get(signature.SECRET_QUERY_KEY), _decoded(header)):
            assert given is None or signature.secret_matches(given, _SECRETS) is (given in _SECRETS)
        right = [signature.sign(body, secret) for secret in _SECRETS]
        given = _decoded(signed)
        assert signature.signature_matches(body, given, _SECRETS) is (given.strip().lower() in right)
        assert all(signature.signature_matches(body, each.upper(), _SECRETS) for each in right)
        assert not signature.signature_matches(body + b"\0", right[0], _SECRETS)

    yield check


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


# --- contacts ---------------------------------------------------------------------------------------------------

_MESSAGES = ("Hi {{name}}", "More for {{ name }} in {{city}}")


@contextmanager
def contacts(scratch: Path) -> Iterator[Target]:
    """A file is refused as a whole with a clear line, or each row is taken, or reported, once."""
    texts = list(_MESSAGES)
    needed = template.variables("".join(texts))
    file = scratch / "contacts.csv"

    def check(content: bytes) -> None:
        file.write_bytes(content)
        refused = io.StringIO()
        try:
            with reading.opened(file, needed=needed) as contacts:
                judge = Judge(header=contacts.header, needed=needed, texts=texts, country="ES")
                again = RefusedRows(refused, contacts.header, contacts.shape.separator)
                rows, numbers = [], []
                for record in contacts.records:
                    judged = judge(record)
                    numbers.append(record.number)
                    if isinstance(judged, Row):
                        assert judged.number == record.number
                        rows.append(judged)
                    else:
                        assert judged.row == record.number
                        again.add(record, judged.column, judged.reason)
        except ContactFileError as error:
            assert "\n" not in str(error)  # noqa: PT017 - whatever else is raised is a find
            return
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 1
        if len(rows) < len(numbers):  # what was refused can be read again, with the same columns
            file.write_text(refused.getvalue(), encoding="utf-8")
            with reading.opened(file, needed=needed) as contacts:
                assert len(list(contacts.records)) >= len(numbers) - len(rows)
        for row in rows:
            assert phone.parse(row.phone, "")  # whoever was imported can be asked for
            assert phone.key(row.phone) == row.phone_key
            for text in _MESSAGES:
                template.render(text, row.variables)
        with _rolled_back(connection) as tx:
            for start in range(0, len(rows), CHUNK_ROWS):
                campaigning.add_rows(tx, "spring", rows[start : start + CHUNK_ROWS], _NOW)
            stored = tx.execute("SELECT variables FROM recipients").fetchall()
        kept: dict[str, Mapping[str, str]] = {}
        for row in rows:
            kept.setdefault(row.phone_key, row.variables)
        assert [json.loads(variables) for (variables,) in stored] == list(kept.values())

    with closing(memory()) as connection:
        add = partial(campaign_rows.add, name="spring", key="0" * 32, now=_NOW)
        commit(connection, partial(add, message_1=_MESSAGES[0], message_2=_MESSAGES[1]))
        yield check


#: Each makes its target; what that has to write, it writes into the directory that it is given.
TARGETS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "webhook": webhook,
    "secrets": secrets,
    "contacts": contacts,
}
