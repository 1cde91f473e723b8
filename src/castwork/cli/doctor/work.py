"""Whether queues are served, and nothing is forgotten in them."""

from __future__ import annotations

from castwork.app import App
from castwork.cli.doctor.check import Check, fine, warn
from castwork.model.queue import Queue
from castwork.store.checkup import QueueHealth, examine_queue

#: Seconds without a sign of life after which nobody seems to look after a running task.
_STALE_AFTER = 60.0


async def check_work(app: App) -> list[Check]:
    """Look at the workers, and at each queue that this App's workers would serve.

    Raises:
        ConnectionFailed: no server in time.
    """
    workers = await app.workers()
    alive = [worker for worker in workers if not worker["lost"]]
    found = [_of_workers(len(alive), len(workers) - len(alive))]
    served = {name for worker in alive for name in worker["queues"]}
    for store in app.served():
        health = await examine_queue(store.place, stale_after=_STALE_AFTER)
        found.append(_of_queue(store.queue, health, is_served=store.queue.name in served))
    return found


def _of_workers(alive: int, lost: int) -> Check:
    text = f"{alive} alive" + (f", {lost} lost a while ago" if lost else "")
    if not alive:
        return warn("workers", f"{text}: tasks wait", "castwork worker MODULE")
    if lost:
        return warn("workers", f"{text}: others took over their tasks", "see why they ended")
    return fine("workers", text)


def _of_queue(queue: Queue, health: QueueHealth, *, is_served: bool) -> Check:
    problems, mends = [], []
    if health.missing:
        lanes = ", ".join(health.missing)
        problems.append(f"no group {queue.group!r} on {lanes}: no worker has been here")
    if not is_served:
        problems.append("no live worker serves it")
        mends.append(f"castwork worker MODULE --queues {queue.name}")
    if health.paused:
        problems.append("paused: no worker begins its tasks")
        mends.append(f"castwork queue resume {queue.name}")
    if health.stale:
        problems.append(f"{health.stale} tasks without a sign of life for a minute")
        mends.append("look for a worker that hangs, or start one: it takes them over")
    if health.dead:
        problems.append(f"{health.dead} dead letters")
        mends.append("castwork dead list")
    plural = "" if health.consumers == 1 else "s"
    facts = f"{health.running} running, {health.consumers} consumer{plural}"
    name = queue.name if queue.stream is None else f"{queue.name} ({queue.group})"
    text = "; ".join([facts, *problems])
    return warn(name, text, "; ".join(mends)) if problems else fine(name, text)
