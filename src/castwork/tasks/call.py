"""Call: a task function with its arguments and options, not enqueued yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from castwork.model.call_options import CallSettings
from castwork.model.codec import decode_any
from castwork.model.schedules import When
from castwork.redis.portal import portal
from castwork.tasks.flow import Flow
from castwork.tasks.schedule import Schedule, keep

if TYPE_CHECKING:
    from castwork.tasks.function import TaskFunction
    from castwork.tasks.task import Task

R_co = TypeVar("R_co", covariant=True)


class Call(Flow[R_co], Generic[R_co]):
    """A task function with its arguments and options: what is enqueued, and what wrappers see.

    Attributes:
        function: the task function, with the options of this call.
        encoded: the arguments by name, as JSON.
        owner: whose task it is.
        tenant: the owner's tenant.
        labels: what is kept with the task, text by text.
        headers: text by text, which travel to the task.

    A wrapper around an enqueue may change the last four.
    """

    __slots__ = ("_arguments", "encoded", "function", "headers", "labels", "owner", "tenant")

    def __init__(
        self,
        function: TaskFunction[..., R_co],
        encoded: bytes,
        *,
        told: CallSettings | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        told = function.call_settings if told is None else told
        self.function = function
        self.encoded = encoded
        self.owner = told.owner
        self.tenant = told.tenant
        self.labels = dict(told.labels)
        self.headers = dict(told.headers)
        self._arguments = arguments

    def __repr__(self) -> str:
        return f"Call({self.function.name!r})"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments by name. Around an enqueue: those that were given, as plain values."""
        if self._arguments is None:
            self._arguments = decode_any(self.encoded)
        assert self._arguments is not None
        return self._arguments

    def settings(self) -> CallSettings:
        """The options of the call, with what wrappers have changed.

        Raises:
            DefinitionError, InvalidArguments: a wrapper has set what cannot be.
        """
        return self.function.call_settings.replaced(
            {
                "owner": self.owner,
                "tenant": self.tenant,
                "labels": self.labels,
                "headers": self.headers,
            }
        )

    async def schedule(self, id: str, when: When) -> Schedule:  # noqa: A002
        """Have the call enqueued again and again, by workers of its queue.

        A schedule is kept on the server until it is removed, and fired once in the fleet. The same
        id again changes it.

        Args:
            id: the schedule's name, unique in the queue: letters, digits and `-_.~`.
            when: `Cron("0 8 * * 1", timezone="UTC")`, or `Every(300)`.

        Raises:
            DefinitionError: the id cannot be one, or the call has an id, key or time of its own.
            ConnectionFailed: no server in time.
        """
        return await keep(self, self.function.store, id, when)

    def schedule_sync(self, id: str, when: When) -> Schedule:  # noqa: A002
        """`schedule` for callers without an event loop; raises as it, and WouldBlock."""
        return portal.run("schedule", lambda: keep(self, self.function.store.twin, id, when))

    async def enqueue(self) -> Task[R_co]:
        """Enqueue the call; raises as `TaskFunction.enqueue`."""
        return await self.function.enqueue_encoded(self.encoded)

    def enqueue_sync(self) -> Task[R_co]:
        """`enqueue` for callers without an event loop; raises as it, and WouldBlock."""
        return self.function.enqueue_encoded_sync(self.encoded)
