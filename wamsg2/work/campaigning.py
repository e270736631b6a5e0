"""What a person does with a campaign, as units of work small enough to never keep a webhook waiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from wamsg2 import phone, rules
from wamsg2.model import Campaign, CampaignStatus, WamsgError
from wamsg2.store import campaigns, contacts, forgotten, marks
from wamsg2.store.writer import Tx

#: So many rows are written in one transaction: 10 to 20 ms, in which nobody else can commit.
CHUNK_ROWS = 1000


class CampaignError(WamsgError):
    """The action is refused; the message names the campaign and says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A checked row of a contacts file."""

    number: int
    phone: str
    phone_key: str
    variables: Mapping[str, str]


class Joined(NamedTuple):
    """What became of a row."""

    contact_id: int
    is_new: bool  #: in the campaign


def find(tx: Tx, name: str) -> Campaign:
    """The campaign of this name.

    Raises:
        CampaignError: there is none.
    """
    if (campaign := campaigns.by_name(tx, name)) is None:
        raise CampaignError(f"there is no campaign named {name!r}")
    return campaign


def find_for(tx: Tx, name: str, action: str) -> Campaign:
    """The campaign of this name, if its status allows the action.

    Raises:
        CampaignError: there is none, it is in another status, or retention removes it.
    """
    campaign = find(tx, name)
    if campaign.is_closed:
        raise CampaignError(f"campaign {name!r} ended long ago and is being removed: use another name")
    if campaign.status not in (allowed := rules.ALLOWED_FROM[action]):
        may = " or ".join(sorted(allowed))
        raise CampaignError(f"campaign {name!r} is {campaign.status}: {action} needs a {may} one")
    return campaign


def add_rows(tx: Tx, name: str, rows: Sequence[Row], now: datetime) -> list[Joined | None]:
    """Add contacts to a campaign; where it has been launched they join it at once.

    Returns:
        Whom each row is about; None where they were forgotten on their wish, and nothing brings them back.

    Raises:
        CampaignError: the campaign has ended meanwhile.
    """
    campaign = find_for(tx, name, "import")
    anybody_forgotten = forgotten.is_anybody(tx)
    results: list[Joined | None] = []
    for row in rows:
        if anybody_forgotten and forgotten.find(tx, phone.keys(row.phone_key)) is not None:
            results.append(None)
            continue
        contact_id = contacts.add(tx, row.phone, row.phone_key, now)
        joined = Joined(contact_id, campaigns.add_recipient(tx, campaign.id, contact_id, row.variables))
        results.append(joined)
        if joined.is_new and campaign.status is not CampaignStatus.DRAFT:
            _add_message_1s(tx, campaign, contact_id - 1, 1, now)
    return results


def prepare_launch(tx: Tx, name: str, after_contact_id: int, now: datetime) -> int | None:
    """Create the next Message 1 rows of a draft; the last contact's id, or None when all are there.

    A launch that is cut off stays a draft, and goes on where it stopped when it is called again.
    """
    return _add_message_1s(tx, find_for(tx, name, "launch"), after_contact_id, CHUNK_ROWS, now)


def _add_message_1s(tx: Tx, campaign: Campaign, after_contact_id: int, most: int, now: datetime) -> int | None:
    return campaigns.add_message_1s(
        tx,
        campaign,
        after_contact_id=after_contact_id,
        most=most,
        start=rules.first_status(restored_at=campaign.restored_at),
        start_opted_out=rules.first_status(contact_opted_out=True, restored_at=campaign.restored_at),
        now=now,
    )


def finish_launch(tx: Tx, name: str, now: datetime) -> bool:
    """Set a draft running, if every recipient has a Message 1; False if some were imported meanwhile.

    Raises:
        CampaignError: it has no contacts.
    """
    campaign = find_for(tx, name, "launch")
    recipients, message_1s = campaigns.count_recipients(tx, campaign.id)
    if not recipients:
        raise CampaignError(f"campaign {name!r} has no contacts: import some first")
    if message_1s < recipients:
        return False
    campaigns.set_status(tx, campaign.id, CampaignStatus.RUNNING, now)
    return True


def pause(tx: Tx, name: str, now: datetime) -> None:
    """Hold a running campaign's queued messages, both steps."""
    campaigns.set_status(tx, find_for(tx, name, "pause").id, CampaignStatus.PAUSED, now)


def resume(tx: Tx, name: str, now: datetime) -> int:
    """Let a paused campaign go on; how many Message 2s are cancelled because their reply is too old.

    One that is in doubt, or under way, is cancelled when it would come back in line.
    """
    campaign = find_for(tx, name, "resume")
    too_old = now - rules.REPLY_STALE_AFTER
    cancelled = campaigns.cancel_stale_message_2s(tx, campaign.id, too_old, rules.REPLY_TOO_OLD)
    campaigns.set_resumed(tx, campaign.id, now)
    return cancelled


def cancel(tx: Tx, name: str, now: datetime) -> int:
    """End a campaign: from this commit on nothing of it is claimed. Its id, for `cancel_queued`."""
    campaign = find_for(tx, name, "cancel")
    campaigns.set_status(tx, campaign.id, CampaignStatus.CANCELLED, now)
    marks.put(tx, _cancelling(campaign.id), now)
    return campaign.id


def cancel_queued(tx: Tx, campaign_id: int) -> int:
    """Cancel some of a cancelled campaign's queued messages; how many were, none when all are."""
    cancelled = campaigns.cancel_queued(tx, campaign_id, "campaign cancelled", CHUNK_ROWS)
    if not cancelled:
        marks.remove(tx, _cancelling(campaign_id))
    return cancelled


def _cancelling(campaign_id: int) -> str:
    return f"cancelling:{campaign_id}"
