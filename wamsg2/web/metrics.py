"""The status report in Prometheus's words."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Report(Collector):
    def __init__(self, report: Mapping[str, Any]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report = self._report
        up = GaugeMetricFamily("wamsg2_status", "1 for the state the daemon is in.", labels=["status"])
        for name in ("ok", "degraded", "failing"):
            up.add_metric([name], float(report["status"] == name))
        yield up
        yield GaugeMetricFamily("wamsg2_uptime_seconds", "Since the start.", value=report["uptime_seconds"])
        held = float(report["sender"]["state"] == "held")
        yield GaugeMetricFamily("wamsg2_sending_held", "1 while nothing is sent.", value=held)
        queue = GaugeMetricFamily("wamsg2_queue_messages", "Messages that are not settled.", labels=["kind"])
        for kind in ("message_1", "message_2", "sending", "uncertain"):
            queue.add_metric([kind], report["queue"][kind])
        yield queue
        due = report["queue"]["oldest_due_seconds"]
        yield GaugeMetricFamily("wamsg2_oldest_due_seconds", "How long the oldest due message has waited.", value=due)
        webhooks = CounterMetricFamily("wamsg2_webhooks", "Webhook requests.", labels=["result"])
        for result in ("received", "duplicates", "refused"):
            webhooks.add_metric([result], report["webhooks"][result])
        yield webhooks
        found = report["webhooks"]["found_by_catch_up"]
        yield CounterMetricFamily(
            "wamsg2_caught_up", "Events found by asking, whose webhooks were lost.", value=found
        )
        unknown = report["webhooks"]["unknown_words"]
        yield CounterMetricFamily(
            "wamsg2_unknown_words", "Words of Wassenger for the state of a message that are not known.", value=unknown
        )
        watch = GaugeMetricFamily("wamsg2_watch_ok", "1 where the provider says that it is well.", labels=["what"])
        for name in ("device", "webhook"):
            if (finding := report["watch"][name]) and finding["ok"] is not None:
                watch.add_metric([name], float(finding["ok"]))
        yield watch
        deliveries = GaugeMetricFamily("wamsg2_notifications", "Not delivered, by why not.", labels=["state"])
        for state in ("waiting", "given_up"):
            deliveries.add_metric([state], report["deliveries"][state])
        yield deliveries
        unmatched = report["webhooks"]["unmatched"]
        yield GaugeMetricFamily("wamsg2_interactions_unmatched", "Interactions of unknown senders.", value=unmatched)
        messages = GaugeMetricFamily("wamsg2_messages", "Messages by status.", labels=["campaign", "step", "status"])
        for campaign in report["campaigns"]:
            for step in ("1", "2"):
                for status, n in campaign[f"message_{step}"].items():
                    messages.add_metric([campaign["name"], step, status], n)
        yield messages


def render(report: Mapping[str, Any]) -> bytes:
    """The text that Prometheus scrapes; `report` as `status.report` gives it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Report(report))
    return generate_latest(registry)
