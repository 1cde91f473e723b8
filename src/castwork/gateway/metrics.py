"""Metrics in the text format of Prometheus, read from Redis at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from castwork.store.look import QueueInfo

#: Content type of the format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PER_QUEUE = {
    "held": "Tasks that limits hold back.",
    "running": "Tasks that workers hold.",
    "scheduled": "Tasks that wait for a time.",
    "dead": "Dead letters.",
    "max_depth": "Bound on waiting and running tasks, 0 for none.",
}


class Snapshot(Collector):
    """The state of queues and workers at one moment.

    Args:
        listeners: clients that listen to channels through this gateway.
    """

    def __init__(
        self, queues: list[QueueInfo], workers: list[dict[str, Any]], listeners: int
    ) -> None:
        self._queues = queues
        self._workers = workers
        self._listeners = listeners

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield from self._of_queues()
        yield from self._of_workers()
        yield GaugeMetricFamily(
            "castwork_gateway_listeners",
            "Clients that listen to channels through this gateway.",
            value=self._listeners,
        )

    def _of_queues(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(
            "castwork_queue_waiting",
            "Tasks per lane that no worker has taken.",
            labels=["queue", "lane"],
        )
        names = Counter(queue.name for queue in self._queues)
        # Groups of one adopted stream have one name, and a series must not come twice.
        labels = [
            f"{queue.name}:{queue.group}" if names[queue.name] > 1 and queue.group else queue.name
            for queue in self._queues
        ]
        for label, queue in zip(labels, self._queues, strict=True):
            for lane, count in queue.waiting.items():
                waiting.add_metric([label, lane], count)
        yield waiting
        for name, text in _PER_QUEUE.items():
            gauge = GaugeMetricFamily(f"castwork_queue_{name}", text, labels=["queue"])
            for label, queue in zip(labels, self._queues, strict=True):
                gauge.add_metric([label], getattr(queue, name))
            yield gauge

    def _of_workers(self) -> Iterable[Metric]:
        live = [worker for worker in self._workers if not worker["lost"]]
        yield GaugeMetricFamily("castwork_workers", "Live workers.", value=len(live))
        load = GaugeMetricFamily(
            "castwork_worker_load", "Tasks that a worker runs now.", labels=["worker"]
        )
        capacity = GaugeMetricFamily(
            "castwork_worker_capacity", "Tasks that a worker can run.", labels=["worker"]
        )
        # Per worker, because a sum over workers would fall when a worker leaves, and a counter
        # must not fall. Sum the rates: sum by (kind) (rate(castwork_tasks_processed_total[5m])).
        processed = CounterMetricFamily(
            "castwork_tasks_processed",
            "Outcomes by kind since the worker's start.",
            labels=["worker", "kind"],
        )
        for worker in live:
            load.add_metric([worker["id"]], worker["load"])
            capacity.add_metric([worker["id"]], worker["capacity"])
            for kind, count in worker["processed"].items():
                processed.add_metric([worker["id"], kind], count)
        yield from (load, capacity, processed)


def write_metrics(snapshot: Snapshot) -> bytes:
    """Write the metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    return generate_latest(registry)
