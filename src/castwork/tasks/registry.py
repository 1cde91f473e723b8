"""Registry: task functions by name, and the queues that they use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from castwork.model.errors import DefinitionError, UnknownTask
from castwork.model.ids import queue_of
from castwork.tasks.function import TaskFunction
from castwork.tasks.queue import Queue


class Registry:
    """The task functions of one app."""

    def __init__(self) -> None:
        self._functions: dict[str, TaskFunction[Any, Any]] = {}
        self._adopting: dict[str, TaskFunction[Any, Any]] = {}

    def add(self, function: TaskFunction[Any, Any]) -> None:
        """Register a function.

        Raises:
            DefinitionError: the name, or the stream that it adopts, is taken.
        """
        if function.name in self._functions:
            raise DefinitionError(
                f"two task functions are named {function.name!r}: give one a name="
            )
        if function.queue.adopted is not None:
            prefix = function.queue.keys.prefix
            if prefix in self._adopting:
                raise DefinitionError(
                    f"stream {function.queue.name!r} with group {function.queue.group!r} is"
                    f" adopted by {self._adopting[prefix].name!r} already"
                )
            self._refuse_sharing(function)
            self._adopting[prefix] = function
        self._functions[function.name] = function

    def _refuse_sharing(self, function: TaskFunction[Any, Any]) -> None:
        """Two groups on one stream must both leave its entries to the other."""
        lane = function.queue.adopted
        for other in self._adopting.values():
            theirs = other.queue.adopted
            if lane is None or theirs is None or lane.stream != theirs.stream:
                continue
            if lane.owned or theirs.owned:
                raise DefinitionError(
                    f"{function.name!r} and {other.name!r} read stream {lane.stream!r} with"
                    " different groups: give both keep_entries=True"
                )

    def get(self, name: str) -> TaskFunction[Any, Any]:
        """Find a function by name.

        Raises:
            UnknownTask: there is none.
        """
        try:
            return self._functions[name]
        except KeyError:
            raise UnknownTask(f"no task function is named {name!r}") from None

    def adopting(self, queue: Queue) -> TaskFunction[Any, Any]:
        """The function that adopts a queue's stream."""
        return self._adopting[queue.keys.prefix]

    def adopting_for(self, task_id: str) -> list[TaskFunction[Any, Any]]:
        """The functions whose adopted stream a task may be of.

        The id is an entry's, which names no stream, or was made by `enqueue`.
        """
        ms, _, sequence = task_id.partition("-")
        is_entry = ms.isdigit() and sequence.isdigit()
        return [
            function
            for function in self._adopting.values()
            if function.queue.keeps_records
            and (is_entry or queue_of(task_id) == function.queue.name)
        ]

    def __iter__(self) -> Iterator[TaskFunction[Any, Any]]:
        return iter(self._functions.values())

    def queues(self) -> list[Queue]:
        """The queues of all functions, in the order in which they were declared."""
        return list({function.queue.keys.prefix: function.queue for function in self}.values())
