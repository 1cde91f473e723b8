"""Metrics: what a scrape reads, whatever the names of queues."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from castwork.gateway.metrics import Snapshot, write_metrics
from castwork.store.look import QueueInfo


def test_queues_of_one_name_have_series_of_their_own() -> None:
    queues = [
        QueueInfo("orders", {"normal": 1}, 0, 0, 0, 1),
        QueueInfo("orders", {"normal": 2}, 0, 0, 0, 2, group="billing"),
        QueueInfo("orders", {"normal": 3}, 0, 0, 0, 3, group="shipping"),
        QueueInfo("events", {"normal": 4}, 0, 0, 0, 4, group="billing"),
    ]

    written = write_metrics(Snapshot(queues, [], 0)).decode()

    waiting = {
        sample.labels["queue"]: sample.value
        for family in text_string_to_metric_families(written)
        for sample in family.samples
        if sample.name == "castwork_queue_waiting"
    }
    assert waiting == {"orders": 1, "orders:billing": 2, "orders:shipping": 3, "events": 4}
