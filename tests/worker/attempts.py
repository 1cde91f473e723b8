"""Attempts as a worker has them, made without a server."""

from __future__ import annotations

from typing import Any

from castwork import App, Backoff
from castwork.model.entry import Entry, Meta
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt, Origin
from castwork.worker.callers.coroutine import coroutine_caller
from castwork.worker.runnable import Runnable
from castwork.worker.workload import Workload

NONCE = b"PRODU100000001"
ENTRY_ID = b"1764000000000-0"
TASK_ID = "q-1JB4N5P80000000N00PRODU100000001"


def declare(**options: Any) -> TaskFunction[[int], None]:
    """A task function with 3 attempts and a backoff of 4 seconds, unless the options say else."""

    async def work(number: int) -> None: ...

    app = App("redis://nowhere")
    queue = {} if "stream" in options else {"queue": "q"}
    settings: dict[str, Any] = {"attempts": 3, "backoff": Backoff(base=4.0), **queue, **options}
    function: TaskFunction[[int], None] = app.task(**settings)(work)
    return function


_WORK = declare()


def make_attempt(
    function: TaskFunction[[int], None] = _WORK,
    *,
    lane: int = 1,
    deliveries: int = 1,
    meta: Meta | None = None,
    task_id: str = TASK_ID,
    entry_id: bytes = ENTRY_ID,
    at: int = 0,
) -> Attempt:
    """An attempt that a worker has understood and not begun."""
    queue = function.queue
    lending = Workload(function.store, "alice", 1).lending
    is_foreign = queue.lanes[lane].name == "stream"
    store = function.store
    origin = Origin(
        queue.name, lane, is_foreign, store.outputs, store.checkpoints("alice"), lending
    )
    entry = Entry(function.wire_name, NONCE, b'{"number":7}', "", at, meta)
    fields = [f if isinstance(f, bytes) else f.encode() for f in entry.fields()]
    if at:
        fields += [b"at", b"%d" % at]
    if task_id != TASK_ID:
        fields += [b"id", task_id.encode()]
    attempt = Attempt(origin, entry_id, deliveries, fields)
    attempt.task_id, attempt.args, attempt.meta = task_id, entry.args, meta
    attempt.number = deliveries + (meta.attempts if meta is not None else 0)
    attempt.runnable = Runnable(function, coroutine_caller(function))
    return attempt
