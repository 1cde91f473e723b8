"""OwnedTask: the handle on a task for one owner, to whom the tasks of others do not exist."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Self

from castwork.model.chunk import Chunk
from castwork.model.errors import TaskNotFound
from castwork.model.option_values import Seconds
from castwork.model.record import Record, TaskStatus
from castwork.model.states import TaskState
from castwork.tasks.task import Task


class OwnedTask(Task[Any]):
    """A handle whose methods all raise TaskNotFound where the task is another owner's."""

    __slots__ = ("_owner",)

    #: Whose task it has to be.
    _owner: str

    @classmethod
    def of(cls, task: Task[Any], owner: str) -> Self:
        """The handle on a task for its owner."""
        made = cls(task.id, task._store, task._decode)
        made._owner = owner
        return made

    async def _own(self) -> None:
        record = await self._store.records.read(self.id)
        if record is None or record.owner != self._owner:
            raise TaskNotFound(f"no task {self.id}: it never was, or its record expired")

    async def status(self) -> TaskStatus:
        """The task's state, of one's own task. Raises TaskNotFound, and as `Task.status`."""
        status = await super().status()
        if status.owner != self._owner:
            await self._own()
        return status

    async def arguments(self) -> Any:
        """The arguments, of one's own task. Raises TaskNotFound, and as `Task.arguments`."""
        await self._own()
        return await super().arguments()

    async def again(self) -> Self:
        """A new task like this one, of one's own. Raises TaskNotFound, and as `Task.again`."""
        await self._own()
        return await super().again()

    async def forget(self) -> None:
        """Delete what is kept of one's own task. Raises TaskNotFound, and as `Task.forget`."""
        await self._own()
        await super().forget()

    async def _outcome(self, timeout: Seconds | None) -> Record:
        await self._own()
        return await super()._outcome(timeout)

    async def _request_cancel(self, reason: str) -> TaskState:
        await self._own()
        return await super()._request_cancel(reason)

    async def events(self, after: str | None = None) -> AsyncGenerator[Chunk | Record, None]:
        """Follow one's own task. Raises TaskNotFound, and as `Task.events`."""
        await self._own()
        async for news in super().events(after):
            yield news

    @property
    def _twin(self) -> Self:
        twin = super()._twin
        twin._owner = self._owner
        return twin
