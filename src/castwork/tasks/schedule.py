"""Schedule: the handle on a task that runs again and again."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from castwork.model.call_options import CallOptions
from castwork.model.codec import decode_any
from castwork.model.errors import DefinitionError, QueueFull
from castwork.model.ids import deferred_id, new_digits, new_producer, own_id
from castwork.model.schedules import Cron, Every, When
from castwork.store.enqueues import NamedTask
from castwork.store.queue_store import QueueStore
from castwork.store.schedules import Kept, Scheduled
from castwork.tasks.task import Task

if TYPE_CHECKING:
    from castwork.tasks.call import Call
    from castwork.tasks.function import TaskFunction


class Schedule:
    """A task that runs again and again; its runs are the tasks `queue:ID.MILLISECONDS`.

    Attributes:
        id: the schedule's name, unique in its queue.
        queue: name of the queue.
        task: name of the task function.
        when: its times, a `Cron` or `Every`.
        at: seconds since 1970 of the next run; None while it is paused.
    """

    def __init__(self, store: QueueStore, found: Scheduled) -> None:
        self.id = found.id
        self.queue = store.queue.name
        self.task = found.kept.task
        self.when = found.when
        self.at = found.at
        self._kept = found.kept
        self._store = store

    def __repr__(self) -> str:
        return f"Schedule({self.id!r}, {self.when!r})"

    @property
    def is_paused(self) -> bool:
        """Whether it was paused when this was read."""
        return self.at is None

    @property
    def is_declared(self) -> bool:
        """Whether a function's own code declares it; then a worker brings it back when removed."""
        return self._kept.declared > 0

    async def pause(self) -> None:
        """Let it not run until `resume`, also over restarts.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._store.schedules.pause(self.id)
        self.at = None

    async def resume(self) -> None:
        """Let it run again, from its next time on. Raises as `pause`."""
        following = await self._store.schedules.resume(self.id, self.when)
        self.at = following if self.at is None else self.at

    async def remove(self) -> bool:
        """Forget it; tasks that it has made stay. Raises as `pause`.

        Returns:
            Whether it was there.
        """
        return await self._store.schedules.remove(self.id)

    async def run_now(self) -> Task[Any]:
        """Enqueue one run now, beside those of its times. Raises as `TaskFunction.enqueue`."""
        kept = self._kept
        nonce = new_producer() + new_digits()
        named = NamedTask(
            deferred_id(self._store.queue.id_prefix, nonce),
            kept.lane,
            f"{kept.task} {nonce} {kept.args}".encode(),
            kept.meta.encode(),
        )
        (reply,) = await self._store.enqueues.enqueue_named([named])
        if isinstance(reply, int):
            raise QueueFull(self.queue, reply)
        return Task(reply.id, self._store, decode_any, created=True)


def declared(function: TaskFunction[..., Any], now: float) -> tuple[str, When, Kept]:
    """The schedule that a function's own code declares: its name, its times, and what it runs.

    Args:
        function: the task function.
        now: seconds since 1970, by the server's clock.
    """
    when = function.settings.schedule
    assert when is not None
    name = re.sub(r"[^A-Za-z0-9_.~-]", "-", function.name)[:100]
    kept = _kept(function, b"{}")
    kept.declared = now
    return name, when, kept


async def keep(call: Call[Any], store: QueueStore, name: str, when: When) -> Schedule:
    """Keep a call as a schedule; see `Call.schedule`."""
    function = call.function
    own_id(store.queue.id_prefix, f"{name}.{'0' * 13}")  # raises DefinitionError
    if not isinstance(when, Cron | Every):
        raise DefinitionError(f"schedule {name!r}: {when!r:.60} is neither a Cron nor an Every")
    if function.queue.stream is not None:
        raise DefinitionError(f"task {function.name!r} adopts a stream, and has no schedules")
    settings = call.settings()
    if settings.names_moments or settings.id or settings.key or settings.delay:
        raise DefinitionError(
            f"schedule {name!r}: each of its tasks has a time and an id of its own: leave out id,"
            " key, delay, at and a deadline at one time"
        )
    kept = _kept(function.options(**_meta_options(call)), call.encoded)
    await store.schedules.put(name, when, kept)
    at = when.after(time.time())
    return Schedule(store, Scheduled(name, when, kept, None if at == math.inf else at))


def _meta_options(call: Call[Any]) -> CallOptions:
    return CallOptions(
        owner=call.owner, tenant=call.tenant, labels=call.labels, headers=call.headers
    )


def _kept(function: TaskFunction[..., Any], args: bytes) -> Kept:
    plan = function.plan_of(args)
    return Kept(function.wire_name.decode(), args.decode(), plan.meta.decode(), plan.lane)
