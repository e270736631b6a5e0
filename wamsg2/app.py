"""The daemon, put together. Read it as a recipe: every constructor call of the daemon is here."""

import asyncio
import gc
import math
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import structlog

from wamsg2 import __version__, alerts, status
from wamsg2.arrivals import Arrivals
from wamsg2.bell import Bell
from wamsg2.catch_up import CatchUp
from wamsg2.clock import Clock, ForwardClock, SystemClock
from wamsg2.config import Settings
from wamsg2.delivery import Delivery
from wamsg2.inbox import Inbox, log_unknown_word
from wamsg2.notifier import Notifier
from wamsg2.notify import notify
from wamsg2.pacing import FailureRun
from wamsg2.provider_retention import ProviderRetention
from wamsg2.provider_watch import ProviderWatch
from wamsg2.reconciler import Reconciler
from wamsg2.retention import Kept, Retention
from wamsg2.sender import Sender
from wamsg2.standard_webhook import StandardWebhook
from wamsg2.store.database import Store
from wamsg2.store.writer import CommitHook
from wamsg2.wassenger.account import WassengerAccount
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.history import WassengerHistory
from wamsg2.wassenger.unknown_words import UnknownWords
from wamsg2.watch import Watch
from wamsg2.web.admin import AdminListener
from wamsg2.web.listener import listen
from wamsg2.web.webhook import Secrets, WebhookListener
from wamsg2.work import settling

log = structlog.get_logger()

#: By Little's law this many requests keep the pace however slow the answers are, up to a bound for memory.
_LEAST_IN_FLIGHT, _MOST_IN_FLIGHT = 16, 256
#: Of some 6 KB each; beyond the webhooks that may be under way, so that a flood hears of it (503).
_MOST_WEBHOOK_CONNECTIONS, _MOST_ADMIN_CONNECTIONS = 4000, 100


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started daemon listens."""

    webhook_url: str
    admin_url: str


def _secrets_of(settings: Settings) -> Secrets:
    return Secrets(
        [secret.get_secret_value() for secret in settings.webhook.secrets],
        [secret.get_secret_value() for secret in settings.webhook.signing_secrets],
        settings.webhook.require_signature,
    )


def client_of(settings: Settings) -> WassengerClient:
    """A client of the configured account."""
    api_key = settings.wassenger.api_key
    return WassengerClient(
        base_url=settings.wassenger.base_url,
        api_key=api_key.get_secret_value() if api_key else "",
        device=settings.wassenger.device or "",
        timeout_seconds=settings.wassenger.timeout_seconds,
        unknown_words=UnknownWords(log_unknown_word),
    )


def account_of(settings: Settings, client: WassengerClient) -> WassengerAccount:
    """The account behind a client, and our webhook in it."""
    secrets = [secret.get_secret_value() for secret in settings.webhook.secrets]
    return WassengerAccount(client, settings.webhook.path, secrets)


def _kept_of(settings: Settings) -> Kept:
    def days(number: int) -> timedelta | None:
        return timedelta(days=number) or None

    kept = settings.retention
    return Kept(
        raw_events=timedelta(days=kept.raw_events_days),
        message_texts=days(kept.message_texts_days),
        interactions=days(kept.interactions_days),
        finished_campaigns=days(kept.finished_campaigns_days),
    )


def _gap_seconds(settings: Settings) -> float:
    """Between two questions to the provider: no faster than messages, and no slower than one a second."""
    return min(settings.wassenger.rate_limit_seconds, 1.0)


def catch_up_of(
    settings: Settings, *, store: Store, client: WassengerClient, inbox: Inbox, clock: Clock, arrivals: Arrivals
) -> CatchUp:
    """The search for lost webhooks, as configured."""
    return CatchUp(
        store=store,
        history=WassengerHistory(client),
        inbox=inbox,
        clock=clock,
        policy=settings.policy(),
        arrivals=arrivals,
        interval_seconds=settings.watch.catch_up_seconds,
        gap_seconds=_gap_seconds(settings),
    )


def _delivery_of(
    settings: Settings, stack: AsyncExitStack, *, store: Store, clock: Clock, random: Random
) -> Delivery | None:
    """What posts notifications, if they are to be posted anywhere."""
    told = settings.notifications
    if not told.url:
        return None
    receiver = StandardWebhook(
        url=told.url,
        secret=told.secret.get_secret_value(),
        timeout_seconds=told.timeout_seconds,
        clock=clock,
    )
    stack.push_async_callback(receiver.close)
    return Delivery(store=store, receiver=receiver, clock=clock, random=random)


def _thresholds_of(settings: Settings) -> alerts.Thresholds:
    told = settings.notifications
    return alerts.Thresholds(
        held=timedelta(seconds=told.held_seconds),
        disk_bytes=told.disk_low_mib * 1024 * 1024,
        backup_age=timedelta(hours=told.backup_age_hours),
    )


def _most_in_flight(settings: Settings) -> int:
    interval = settings.wassenger.rate_limit_seconds
    needed = math.ceil(settings.wassenger.timeout_seconds / interval) + 1 if interval else _LEAST_IN_FLIGHT
    return min(max(needed, _LEAST_IN_FLIGHT), _MOST_IN_FLIGHT)


def _tune_interpreter() -> None:
    """For a process that has just begun its work."""
    gc.collect()
    gc.freeze()  # what is there by now stays: no collection looks at it again
    gc.set_threshold(10_000, 20, 20)  # and what a webhook leaves behind is counted, not in a circle
    # A thread that has committed must get the interpreter to say so, and would wait 5 ms for it.
    sys.setswitchinterval(0.0005)


async def run(
    settings: Settings,
    stop: asyncio.Event,
    *,
    started: Callable[[Running], None] = lambda _: None,
    clock: Clock | None = None,
    random: Random | None = None,
    commit_hook: CommitHook | None = None,
) -> None:
    """Run the daemon until `stop` is set: then nothing new is claimed, and what is under way is settled.

    Args:
        settings: complete for serving.
        stop: set it to end.
        started: called once both listeners answer and what a crash left behind is in order.
        clock: the machine's, unless a test brings its own.
        random: jitter of back-offs.
        commit_hook: see `Store.open`.

    Raises:
        WamsgError: it cannot start.
        ExceptionGroup: a part died; the process must end, so that its supervisor starts it anew.
    """
    clock = ForwardClock(clock or SystemClock())
    random = random or Random()  # noqa: S311 - jitter
    policy, limit_seconds = settings.policy(), settings.wassenger.rate_limit_seconds
    started_at = clock.monotonic()

    async with AsyncExitStack() as stack:
        store = await Store.open(settings.database.path, daemon=True, grouped=True, hook=commit_hook)
        stack.push_async_callback(store.close)
        client = client_of(settings)
        stack.push_async_callback(client.close)
        doubts = await store.write(partial(settling.recover, now=clock.now(), policy=policy))

        sender = Sender(
            store=store,
            client=client,
            clock=clock,
            random=random,
            policy=policy,
            rate_limit_seconds=limit_seconds,
            most_in_flight=_most_in_flight(settings),
            failures=FailureRun(settings.watch.hold_after_failures, settings.watch.hold_failure_share),
        )
        device_changed, arrivals = Bell(), Arrivals(clock)
        inbox = Inbox(
            store=store,
            clock=clock,
            policy=policy,
            signals=sender,
            device=settings.wassenger.device,
            unknown_words=client.unknown_words,
            device_changed=device_changed.ring,
        )
        retention_seen = ProviderRetention(account=account_of(settings, client), clock=clock)
        reconciler = Reconciler(
            store=store,
            client=client,
            clock=clock,
            policy=policy,
            gap_seconds=_gap_seconds(settings),
            retention=retention_seen,
            signals=sender,
        )
        catch_up = catch_up_of(settings, store=store, client=client, inbox=inbox, clock=clock, arrivals=arrivals)
        provider_watch = ProviderWatch(
            account=account_of(settings, client),
            clock=clock,
            device_changed=device_changed,
            block=sender.block,
            catch_up=catch_up.ask,
            note_retention=retention_seen.note,
            device_seconds=settings.watch.device_seconds,
            webhook_seconds=settings.watch.webhook_seconds,
        )
        webhooks = WebhookListener(
            path=settings.webhook.path, inbox=inbox, secrets=_secrets_of(settings), clock=clock, arrivals=arrivals
        )

        def alive() -> None:
            webhooks.healthy = store.failing is None
            notify("WATCHDOG=1")

        watch = Watch(store=store, clock=clock, signals=sender, alive=alive)

        def facts() -> status.DaemonFacts:
            return status.DaemonFacts(
                uptime_seconds=clock.monotonic() - started_at,
                held=sender.held,
                in_flight=sender.in_flight,
                last_send_at=sender.last_send_at,
                webhooks_refused=webhooks.refused,
                unknown_words=client.unknown_words.count,
                device=provider_watch.device,
                webhook=provider_watch.webhook,
                webhook_disabled_at=provider_watch.webhook_disabled_at,
                caught_up_at=catch_up.last_at,
                catch_up_problem=catch_up.problem,
                webhook_refused=arrivals.refused,
                webhooks_lost=arrivals.lost,
            )

        async def report() -> dict[str, Any]:
            return await status.report(
                store, facts(), now=clock.now(), policy=policy, rate_limit_seconds=limit_seconds
            )

        async def alert_facts() -> alerts.Facts:
            return await status.alert_facts(store, facts(), now=clock.now(), policy=policy)

        delivery = _delivery_of(settings, stack, store=store, clock=clock, random=random)
        notifier = Notifier(
            store=store,
            facts=alert_facts,
            clock=clock,
            thresholds=_thresholds_of(settings),
            deliver=delivery.wake if delivery else None,
        )
        retention = Retention(store=store, clock=clock, policy=policy, kept=_kept_of(settings))
        admin = AdminListener(report=report, token=settings.admin.token.get_secret_value())
        webhook_base = await listen(
            *(stack, webhooks.answer, settings.webhook.host, settings.webhook.port),
            clock=clock,
            most_connections=_MOST_WEBHOOK_CONNECTIONS,
        )
        admin_url = await listen(
            *(stack, admin.application(), settings.admin.host, settings.admin.port),
            clock=clock,
            most_connections=_MOST_ADMIN_CONNECTIONS,
        )

        async with asyncio.TaskGroup() as tasks:
            asked_to_stop = [tasks.create_task(sender.run(), name="sender")]
            if delivery:
                asked_to_stop.append(tasks.create_task(delivery.run(), name="delivery"))
            others = [
                tasks.create_task(reconciler.run(), name="reconciler"),
                tasks.create_task(watch.run(), name="watch"),
                tasks.create_task(provider_watch.run(), name="provider_watch"),
                tasks.create_task(catch_up.run(), name="catch_up"),
                tasks.create_task(notifier.run(), name="notifier"),
                tasks.create_task(retention.run(), name="retention"),
            ]
            log.info("daemon.started", version=__version__, webhook=webhook_base, admin=admin_url, doubts=doubts)
            notify("READY=1")
            _tune_interpreter()
            started(Running(webhook_base + settings.webhook.path, admin_url))
            await stop.wait()
            log.info("daemon.stopping", in_flight=sender.in_flight)
            notify("STOPPING=1")
            sender.stop()
            if delivery:
                delivery.stop()
            await asyncio.wait(asked_to_stop)
            for task in others:
                task.cancel()
    log.info("daemon.stopped")
