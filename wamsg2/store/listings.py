"""The list of inbound messages that is not read to its end yet. There is at most one."""

from dataclasses import dataclass
from datetime import datetime

from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx


@dataclass(frozen=True, slots=True)
class Listing:
    """A list at the provider, and how far it is read.

    Attributes:
        since: the list has the messages from then on.
        began_at: when the first page was asked for, by our clock.
        next_page: the pages before it are read.
        newest_at: the time of the newest message on those pages, by the provider's clock.
    """

    since: datetime
    began_at: datetime
    next_page: int = 0
    newest_at: datetime | None = None


def get(tx: Tx) -> Listing | None:
    """The list that is not read to its end."""
    row = tx.execute("SELECT since, began_at, next_page, newest_at FROM listings WHERE id = 1").fetchone()
    return None if row is None else Listing(from_ms(row[0]), from_ms(row[1]), row[2], from_ms(row[3]))


def reached(tx: Tx, listing: Listing, next_page: int, newest_at: datetime | None) -> None:
    """Note that the pages before this one are read, unless another list is noted.

    Two processes may read the same list at once: the one that is further ahead counts.
    """
    tx.execute(
        """INSERT INTO listings (id, since, began_at, next_page, newest_at) VALUES (1, ?1, ?2, ?3, ?4)
           ON CONFLICT (id) DO UPDATE
               SET next_page = max(next_page, ?3), newest_at = coalesce(max(newest_at, ?4), newest_at, ?4)
               WHERE since = ?1 AND began_at = ?2""",
        (to_ms(listing.since), to_ms(listing.began_at), next_page, to_ms(newest_at)),
    )


def remove(tx: Tx) -> None:
    """Forget how far the list is read."""
    tx.execute("DELETE FROM listings WHERE id = 1")
