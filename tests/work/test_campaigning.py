"""Units of work of a campaign, where they meet others half-way."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import START, House, house, inbound
from wamsg2.model import Accepted
from wamsg2.work import campaigning
from wamsg2.work.campaigning import CampaignError, Joined, Row

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def add(home: House, *phones: str, name: str = "spring") -> list[Joined | None]:
    rows = [Row(n, p, p, {}) for n, p in enumerate(phones, start=2)]
    return await home.store.write(lambda tx: campaigning.add_rows(tx, name, rows, home.clock.now()))


async def test_rows_are_added_once(home: House) -> None:
    await home.campaign(ONE, launch=False)
    assert await add(home, ONE, TWO, TWO) == [
        Joined(1, is_new=False),
        Joined(2, is_new=True),
        Joined(2, is_new=False),
    ]
    assert await home.rows("SELECT contacts FROM campaign_counts") == [(2,)]


async def test_a_launch_that_is_cut_off_goes_on(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigning, "CHUNK_ROWS", 2)
    await home.campaign(ONE, TWO, THREE, launch=False)
    after = await home.store.write(lambda tx: campaigning.prepare_launch(tx, "spring", 0, START))
    assert after == 2
    assert await home.claim() == []  # still a draft
    assert not await home.store.write(lambda tx: campaigning.finish_launch(tx, "spring", START))
    await home.campaigns.launch("spring")
    assert len(await home.statuses()) == 3
    assert [c.phone for c in await home.claim(5)] == [ONE, TWO, THREE]


async def test_contacts_imported_during_a_launch_are_launched_too(home: House) -> None:
    await home.campaign(ONE, launch=False)
    await home.store.write(lambda tx: campaigning.prepare_launch(tx, "spring", 0, START))
    await add(home, TWO)
    assert not await home.store.write(lambda tx: campaigning.finish_launch(tx, "spring", START))
    await home.campaigns.launch("spring")
    assert [p for p, *_ in await home.statuses()] == [ONE, TWO]


async def test_an_older_contact_imported_during_a_launch_is_launched_too(home: House) -> None:
    """Its id lies before those that the launch has passed."""
    await home.campaign(THREE, name="earlier")
    await home.campaign(ONE, launch=False)
    await home.store.write(lambda tx: campaigning.prepare_launch(tx, "spring", 0, START))
    await add(home, THREE)
    await home.campaigns.launch("spring")
    assert sorted(await home.rows("SELECT contact_id FROM messages WHERE campaign_id = 2")) == [(1,), (2,)]


@pytest.mark.parametrize("status", ["running", "paused"])
async def test_who_is_imported_into_a_launched_campaign_joins_it(home: House, status: str) -> None:
    await home.campaign(ONE)
    if status == "paused":
        await home.campaigns.pause("spring")
    await add(home, ONE, TWO)
    assert await home.statuses() == [(ONE, 1, "queued"), (TWO, 1, "queued")]
    assert len(await home.claim(5)) == (2 if status == "running" else 0)


async def test_who_has_opted_out_joins_as_cancelled(home: House) -> None:
    await home.campaign(ONE)
    await home.receive(inbound(TWO, "STOP", at=START, wa_id="A1"))
    await add(home, TWO)
    assert await home.statuses() == [(ONE, 1, "queued"), (TWO, 1, "cancelled")]


async def test_an_import_into_a_campaign_that_has_ended_meanwhile_is_refused(home: House) -> None:
    await home.campaign(ONE)
    await home.campaigns.cancel("spring")
    with pytest.raises(
        CampaignError, match="campaign 'spring' is cancelled: import needs a draft or paused or running"
    ):
        await add(home, TWO)
    assert await home.rows("SELECT count(*) FROM contacts") == [(1,)]


async def test_from_the_first_commit_of_a_cancellation_nothing_is_claimed(home: House) -> None:
    await home.campaign(ONE, TWO)
    campaign_id = await home.store.write(lambda tx: campaigning.cancel(tx, "spring", START))
    assert await home.claim(5) == []
    assert await home.store.write(lambda tx: campaigning.cancel_queued(tx, campaign_id)) == 2
    assert await home.store.write(lambda tx: campaigning.cancel_queued(tx, campaign_id)) == 0


async def test_a_cancellation_that_was_cut_off_can_be_finished(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.store.write(lambda tx: campaigning.cancel(tx, "spring", START))
    assert await home.campaigns.cancel("spring") == 2
    assert {status for *_, status in await home.statuses()} == {"cancelled"}


async def test_a_cancellation_leaves_what_is_under_way(home: House) -> None:
    await home.campaign(ONE, TWO)
    (claim,) = await home.claim()
    assert await home.campaigns.cancel("spring") == 1
    await home.settle(claim, Accepted("a" * 24))
    assert await home.statuses() == [(ONE, 1, "sent"), (TWO, 1, "cancelled")]
