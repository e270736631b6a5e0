"""How far the provider's list of inbound messages has been read."""

from datetime import datetime

from wamsg2 import rules
from wamsg2.store import campaigns, listings, marks
from wamsg2.store.listings import Listing
from wamsg2.store.times import to_the_millisecond
from wamsg2.store.writer import Tx

_MARK = "inbound_listed"


def list_since(tx: Tx, now: datetime, *, thoroughly: bool = False) -> datetime | None:
    """From when on to ask for inbound messages; None as long as nobody can have replied to anything.

    Thoroughly: also for what may have come late, behind messages that are listed already.
    """
    if newest_listed := marks.get(tx, _MARK):
        return rules.list_since(newest_listed, now, thoroughly=thoroughly)
    launched_at = campaigns.first_launched_at(tx)
    return rules.list_since(launched_at - rules.LAUNCH_DOUBT, now) if launched_at else None


def begin(tx: Tx, now: datetime, *, thoroughly: bool = False) -> tuple[Listing | None, bool]:
    """The list to read, and whether it is new; None as long as nobody can have replied to anything.

    A list that was not read to its end goes on where it stopped. One that began too long ago is replaced: all that it
    still has is too old to be taken in.
    """
    unfinished = listings.get(tx)
    if unfinished and unfinished.began_at > rules.oldest_listed(now):
        return unfinished, False
    since = list_since(tx, now, thoroughly=thoroughly)
    if since is None:
        return None, False
    if unfinished:
        listings.remove(tx)
    return Listing(to_the_millisecond(since), to_the_millisecond(now)), True


def finish(tx: Tx, listing: Listing, now: datetime) -> None:
    """Note that a list was read to its end, unless another one is noted."""
    read = listings.get(tx)
    if read is None:  # it was empty, or another process finished it
        listed(tx, None, now)
    elif (read.since, read.began_at) == (listing.since, listing.began_at):
        listings.remove(tx)
        # What came in meanwhile may be on a page that was read before.
        listed(tx, read.newest_at, min(read.began_at, now))


def listed(tx: Tx, newest_at: datetime | None, now: datetime) -> None:
    """Note that all was listed up to now: the next list begins near the newest message, if there was any.

    By the provider's clock, since a server whose own is wrong must not skip anything.
    """
    marks.remove(tx, marks.INBOUND_OWED)
    if newest_at is None:
        return
    before = marks.get(tx, _MARK)
    newest_at = min(newest_at, now)
    if before is None or newest_at > before:
        marks.put(tx, _MARK, newest_at)


def owe(tx: Tx, now: datetime) -> None:
    """Out of a backup: what was written since may hold opt-outs, and until a list is read nothing is sent blindly.

    A draft may have been launched since: where nothing was ever listed, the list reaches back to the first campaign.
    """
    listings.remove(tx)  # pages that were read after the backup are lost
    marks.put(tx, marks.INBOUND_OWED, now)
    first_at = campaigns.first_created_at(tx)
    if marks.get(tx, _MARK) is None and first_at is not None:
        marks.put(tx, _MARK, first_at)


def is_owed(tx: Tx) -> bool:
    """Whether no list has been read to its end since the database came out of a backup."""
    return marks.get(tx, marks.INBOUND_OWED) is not None


def give_up(tx: Tx) -> bool:
    """Let what came out of a backup be sent although the list was not read to its end; whether anything waited."""
    is_waiting = is_owed(tx)
    listings.remove(tx)
    marks.remove(tx, marks.INBOUND_OWED)
    return is_waiting
