"""The state of everything, from the counters, as the JSON of `GET /status` (contract §4)."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wamsg2 import __version__, alerts, rules
from wamsg2.model import CampaignStatus, Finding, MessageStatus, Policy, Step
from wamsg2.store import notifications, stats
from wamsg2.store.database import Store

#: A doubt this old is one that look-ups do not settle: a person has to.
_NEEDS_A_PERSON_AFTER = timedelta(minutes=10)
_ACTIVE = (CampaignStatus.RUNNING, CampaignStatus.PAUSED)
#: The list of inbound messages is read in this time, unless it is very long or Wassenger does not give it.
_RESTORE_WAITS = timedelta(minutes=10)
#: What has happened is shown for so long.
_NEWS = timedelta(days=1)
#: Conditions that are problems by themselves, and what they are about.
_SHOWN_AS_PROBLEMS = {
    alerts.Kind.SUSPECTED: "replies",
    alerts.Kind.WEBHOOK_REFUSED: "webhook",
    alerts.Kind.WEBHOOKS_LOST: "webhook",
    alerts.Kind.RESTORE_WAITING: "restore",
    alerts.Kind.DISK_LOW: "disk",
    alerts.Kind.BACKUP_FAILED: "backup",
    alerts.Kind.BACKUP_OLD: "backup",
}


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What only the running daemon knows."""

    uptime_seconds: float
    held: str | None
    in_flight: int
    last_send_at: datetime | None
    webhooks_refused: int
    device: Finding | None = None
    webhook: Finding | None = None
    webhook_disabled_at: datetime | None = None
    caught_up_at: datetime | None = None
    catch_up_problem: str | None = None
    webhook_refused: Finding | None = None
    webhooks_lost: Finding | None = None
    unknown_words: int = 0  #: of the provider, for the state of a message


#: What a command says of a daemon that does not run.
NOT_RUNNING = DaemonFacts(0.0, "the daemon is not running", 0, None, 0)


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 with milliseconds and Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def campaign_json(campaign: stats.CampaignStats, *, now: datetime, policy: Policy) -> dict[str, Any]:
    """A campaign in figures."""
    return {
        "name": campaign.name,
        "status": _status_of(campaign, now, policy).value,
        "contacts": campaign.contacts,
        "message_1": dict(campaign.messages[Step.MESSAGE_1]),
        "message_2": dict(campaign.messages[Step.MESSAGE_2]),
        "replied": campaign.replied,
        "interactions": campaign.interactions,
        "opted_out": campaign.opted_out,
        "window_closes_at": iso(_closes_at(campaign, policy)),
        "created_at": iso(campaign.created_at),
        "launched_at": iso(campaign.launched_at),
    }


def _closes_at(campaign: stats.CampaignStats, policy: Policy) -> datetime | None:
    return campaign.last_sent_at + policy.window if campaign.last_sent_at else None


def _status_of(campaign: stats.CampaignStats, now: datetime, policy: Policy) -> CampaignStatus:
    return rules.campaign_status(
        campaign.status,
        open_messages=campaign.open_messages,
        window_closes_at=_closes_at(campaign, policy),
        now=now,
    )


def _needs_person(queue: stats.QueueStats, now: datetime, policy: Policy) -> bool:
    """Whether the oldest doubt is one that look-ups do not settle."""
    patience = max(_NEEDS_A_PERSON_AFTER, 3 * policy.resend_after)
    return queue.uncertain_since is not None and now - queue.uncertain_since > patience


def _why_restore_waits(facts: DaemonFacts, owed_at: datetime | None, doubts: int, now: datetime) -> str | None:
    if owed_at is None or not doubts or now - owed_at <= _RESTORE_WAITS:
        return None
    why = facts.catch_up_problem or "it is long"
    return (
        f"messages wait until what people wrote since the backup is read ({why}); "
        "`wamsg2 catch-up --give-up` sends them without it"
    )


async def alert_facts(store: Store, facts: DaemonFacts, *, now: datetime, policy: Policy) -> alerts.Facts:
    """What the alerts are judged by."""
    campaigns = await stats.campaigns(store.reader)
    queue = await stats.queue(store.reader, now)
    backups = await stats.backups(store.reader)
    webhooks = await stats.webhooks(store.reader)
    owed_at = await stats.inbound_owed_at(store.reader)
    doubts = sum(c.messages[step][MessageStatus.UNCERTAIN] for c in campaigns for step in Step)
    return alerts.Facts(
        held=facts.held,
        device=facts.device,
        webhook=facts.webhook,
        webhook_refused=facts.webhook_refused,
        webhooks_lost=facts.webhooks_lost,
        webhook_disabled_at=facts.webhook_disabled_at,
        suspected=webhooks.suspected,
        doubts=doubts if _needs_person(queue, now, policy) else 0,
        restore_waiting=_why_restore_waits(facts, owed_at, doubts, now),
        failing=store.failing,
        free_bytes=store.free_bytes(),
        completed=tuple(
            alerts.Completed(c.name, c.contacts, c.replied)
            for c in campaigns
            if _status_of(c, now, policy) is CampaignStatus.COMPLETED
        ),
        backup_age=now - backups.made_at if backups.made_at else None,
        backup_failed_at=backups.failed_at,
    )


def _finding_json(finding: Finding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    return {"ok": finding.ok, "detail": finding.detail, "checked_at": iso(finding.checked_at)}


async def report(
    store: Store, facts: DaemonFacts, *, now: datetime, policy: Policy, rate_limit_seconds: float
) -> dict[str, Any]:
    """Everything."""
    # All at once: the reader has a thread of its own, and one answer after the other took thrice as long.
    campaigns, queue, webhooks, told, delivery, backups = await asyncio.gather(
        stats.campaigns(store.reader),
        stats.queue(store.reader, now),
        stats.webhooks(store.reader),
        notifications.shown(store.reader, now - _NEWS),
        notifications.delivery(store.reader),
        stats.backups(store.reader),
    )

    def count(status: MessageStatus, steps: tuple[Step, ...], *only: CampaignStatus) -> int:
        return sum(c.messages[step][status] for c in campaigns for step in steps if not only or c.status in only)

    # A daemon that was just started knows nothing of these yet: then what was told before holds.
    arrivals = {alerts.Kind.WEBHOOK_REFUSED: facts.webhook_refused, alerts.Kind.WEBHOOKS_LOST: facts.webhooks_lost}
    both = tuple(Step)
    runnable = count(MessageStatus.QUEUED, both, CampaignStatus.RUNNING)
    problems = [
        *([store.failing] if store.failing else []),
        *([f"sending is held: {facts.held}"] if facts.held else []),
        *(["messages are uncertain, and look-ups do not settle them"] if _needs_person(queue, now, policy) else []),
        *(f"webhook: {each.detail}" for each in (facts.webhook, *arrivals.values()) if each and each.ok is False),
        *(
            f"{what}: {each['detail']}"
            for each in told
            if (what := _SHOWN_AS_PROBLEMS.get(each["kind"])) and arrivals.get(each["kind"]) is None
        ),
    ]
    if facts.held:
        state = "held"
    elif facts.in_flight or queue.oldest_due_at:
        state = "sending"
    elif not runnable and count(MessageStatus.QUEUED, both, CampaignStatus.PAUSED):
        state = "paused"
    else:
        state = "idle"
    return {
        "status": "failing" if store.failing else "degraded" if problems else "ok",
        "problems": problems,
        "version": __version__,
        "uptime_seconds": round(facts.uptime_seconds, 1),
        "sender": {
            "state": state,
            "reason": facts.held,
            "rate_limit_seconds": rate_limit_seconds,
            "last_send_at": iso(facts.last_send_at),
        },
        "queue": {
            "message_1": count(MessageStatus.QUEUED, (Step.MESSAGE_1,), *_ACTIVE),
            "message_2": count(MessageStatus.QUEUED, (Step.MESSAGE_2,), *_ACTIVE),
            "sending": count(MessageStatus.SENDING, both),
            "uncertain": count(MessageStatus.UNCERTAIN, both),
            "oldest_due_seconds": (
                round((now - queue.oldest_due_at).total_seconds(), 3) if queue.oldest_due_at else 0.0
            ),
            "eta_seconds": round(runnable * rate_limit_seconds),
        },
        "webhooks": {
            "received": webhooks.received,
            "duplicates": webhooks.duplicates,
            "refused": facts.webhooks_refused,
            "unmatched": webhooks.unmatched,
            "suspected": webhooks.suspected,
            "not_replies": webhooks.not_replies,
            "last_received_at": iso(webhooks.last_received_at),
            "found_by_catch_up": webhooks.caught_up,
            "unknown_words": facts.unknown_words,
        },
        "watch": {
            "device": _finding_json(facts.device),
            "webhook": _finding_json(facts.webhook),
            "catch_up": {"last_at": iso(facts.caught_up_at), "problem": facts.catch_up_problem},
        },
        "backup": {"made_at": iso(backups.made_at), "failed_at": iso(backups.failed_at)},
        "notifications": told,
        "deliveries": {"waiting": delivery.waiting, "given_up": delivery.given_up},
        "campaigns": [campaign_json(c, now=now, policy=policy) for c in campaigns],
    }
