"""Again: a new task that is called as another was."""

from __future__ import annotations

from castwork.model.call_options import CallSettings
from castwork.model.entry import Meta
from castwork.model.errors import DefinitionError, TaskNotFound
from castwork.store.queue_store import QueueStore
from castwork.tasks.plan import Plan
from castwork.tasks.producer import Producer


async def enqueue_again(store: QueueStore, task_id: str) -> str:
    """Enqueue a task with another one's function, arguments, owner, tenant, labels and headers.

    Args:
        store: the queue of both.
        task_id: the task that is there.

    Returns:
        The new task's id.

    Raises:
        DefinitionError: the queue adopts a stream.
        TaskNotFound: the task is not there any more, or has ended well, and its arguments are gone.
        QueueFull, ConnectionFailed: as of an enqueue.
    """
    if store.queue.stream is not None:
        raise DefinitionError("other programs write this stream: write such an entry once more")
    found = await store.entries.find(task_id)
    if found is None:
        raise TaskNotFound(
            f"the arguments of task {task_id} are gone: they are kept while it waits, runs or is"
            " dead"
        )
    entry, lane = found
    meta = entry.meta or Meta()
    settings = CallSettings(
        priority=lane,
        owner=meta.owner,
        tenant=meta.tenant,
        labels=tuple(sorted(meta.labels.items())),
        headers=tuple(sorted(meta.headers.items())),
        attempts=meta.max_attempts or None,
        timeout=meta.timeout or None,
        result_ttl=meta.result_ttl_ms / 1000 if meta.result_ttl_ms else None,
    )
    plan = Plan(entry.name, settings, line=meta.serial)
    made, _ = await Producer(store, store.limits).enqueue(plan, entry.args)
    return made
