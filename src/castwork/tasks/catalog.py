"""Catalog: the task functions of an app, their queues, and the way from an id to a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from castwork.model.codec import decode_any
from castwork.model.entry import wire_name as encoded_name
from castwork.model.errors import DefinitionError, TaskNotFound, UnknownTask
from castwork.model.ids import prefix_of
from castwork.model.limits import refuse_whose
from castwork.model.origin import is_declared_again
from castwork.model.queue import Queue, QueueSettings, adopted_queue, check_queue_name
from castwork.model.task_options import TaskSettings
from castwork.store.queue_store import QueueStore
from castwork.tasks.function import TaskFunction
from castwork.tasks.queue import Queue as PublicQueue
from castwork.tasks.task import Task

logger = logging.getLogger(__name__)

Function = TaskFunction[Any, Any]


class Served(NamedTuple):
    """The queues that a worker serves.

    Attributes:
        stores: the queues.
        in_order: whether an earlier one has the free slots first; else all in turn.
    """

    stores: list[QueueStore]
    in_order: bool


class Catalog:
    """What an app can run, by name.

    Args:
        open_store: makes the store of a queue.
    """

    def __init__(self, open_store: Callable[[Queue], QueueStore]) -> None:
        self._open_store = open_store
        self._functions: dict[str, Function] = {}
        self._by_wire_name: dict[bytes, Function] = {}
        self._stores: dict[str, QueueStore] = {}
        self._bounds: dict[str, QueueSettings] = {}
        self._handles: dict[str, PublicQueue] = {}
        self._adopting: dict[str, Function] = {}
        self._beside: dict[str, QueueStore] = {}
        self._following: dict[bytes, Function] = {}
        #: The stores of adopted streams by what their tasks' ids begin with.
        self._adopted_ids: dict[str, QueueStore] = {}

    # -- queues -------------------------------------------------------------------------

    def declare_queue(self, name: str, settings: QueueSettings | None) -> PublicQueue:
        """A queue, and its bounds: before its task functions or behind them, and once.

        Args:
            name: the queue's name.
            settings: its bounds; None for what was said, or will be.

        Raises:
            DefinitionError: the queue has other bounds already, or its name cannot be one.
        """
        store = self._stores.get(name)
        if store is None:
            if settings is not None and self._adopted_as(name):
                raise DefinitionError(
                    f"queue {name!r} is that of an adopted stream: set its bounds before that"
                )
            store = self._stores[name] = self._open_store(Queue(check_queue_name(name)))
        if settings is not None:
            if self._bounds.setdefault(name, settings) != settings:
                raise DefinitionError(
                    f"queue {name!r} has other bounds already: {self._bounds[name]}: say them once"
                )
            if settings.max_depth and self._adopted_as(name):
                raise DefinitionError(
                    f"queue {name!r}: max_depth cannot hold for a stream that others write"
                )
            if self._adopted_as(name):
                refuse_whose(f"queue {name!r}: limits", settings.limits)
            store.queue.settings.become(settings)
        return self._handles.setdefault(name, PublicQueue(name, lambda: self._store_named(name)))

    def _adopted_as(self, name: str) -> list[QueueStore]:
        """The stores of the adopted streams whose queue has a name: one per group."""
        return [f.store for f in self._adopting.values() if f.settings.queue_name == name]

    def _store_named(self, name: str) -> QueueStore:
        """The store that `app.queue(name)` stands for."""
        adopted = self._adopted_as(name)
        if len(adopted) > 1:
            groups = ", ".join(store.queue.group for store in adopted)
            raise DefinitionError(
                f"queue {name!r} has several groups ({groups}): give each a queue= of its own, to"
                " tell them apart"
            )
        return adopted[0] if adopted else self._stores[name]

    def store_for(self, settings: TaskSettings) -> QueueStore:
        """The store of the queue that a task function names, made at its first use.

        Raises:
            DefinitionError: the name is that of both an adopted stream and castwork's own tasks,
                or the stream has a bound that cannot hold.
        """
        name = settings.queue_name
        if settings.stream is not None:
            queue = self._adopted_queue(settings, settings.stream)
            declared = (f.store for f in self._adopting.values() if f.queue == queue)
            return next(declared, None) or self._open_store(queue)
        if name in self._stream_names():
            raise DefinitionError(
                f"task {settings.name!r}: queue {name!r} is that of an adopted stream: give the"
                " stream or the task another queue="
            )
        if name not in self._stores:
            self._stores[name] = self._open_store(Queue(name))
        return self._stores[name]

    def store_of(self, name: str) -> QueueStore:
        """The store of a queue of castwork's own.

        Raises:
            DefinitionError: no queue of that name is declared, and no function uses one.
        """
        store = self._stores.get(name)
        if store is None:
            known = ", ".join(sorted(self._stores)) or "none"
            raise DefinitionError(
                f"no queue is named {name!r}; there are: {known}: declare it with app.queue(...),"
                " so that workers serve it"
            )
        return store

    def store_beside(self, name: str) -> QueueStore:
        """The store of a queue of castwork's own, which other programs may serve alone."""
        return self._stores.get(name) or self._beside.setdefault(
            name, self._open_store(Queue(name))
        )

    def _adopted_queue(self, settings: TaskSettings, stream: str) -> Queue:
        """The queue around an adopted stream, with the bounds that `declare_queue` set."""
        name, declared = settings.queue_name, self._stores.get(settings.queue_name)
        if any(function.store is declared for function in self):
            if settings.queue is not None:
                raise DefinitionError(
                    f"task {settings.name!r}: queue {name!r} has tasks of its own: give stream"
                    f" {stream!r} another queue="
                )
            declared = None  # the stream and a queue of castwork's own have one name by chance
        return adopted_queue(
            stream,
            settings.group,
            name=name,
            settings=declared.queue.settings if declared is not None else None,
            owned=not settings.keep_entries,
            foreign_lease=settings.foreign_lease,
        )

    def _stream_names(self) -> set[str]:
        """The names of queues that functions gave to adopted streams."""
        adopting = self._adopting.values()
        return {f.settings.queue for f in adopting if f.settings.queue is not None}

    def stores(self) -> list[QueueStore]:
        """The queues of all functions, as they were declared, then those without a function."""
        used = {f.store.place.keys.prefix: f.store for f in self}
        names = {f.queue.name for f in self}
        declared = (s for s in self._stores.values() if s.queue.name not in names)
        return [*used.values(), *declared]

    def serving(self, names: Iterable[str | PublicQueue] | None = None) -> Served:
        """Some queues, by name or as `app.queue` returned them, each once; all without names.

        An adopted stream's groups have one name.

        Raises:
            DefinitionError: `names` is empty, or no function uses a queue of one of them.
        """
        here = {f.queue.name for f in self if not f.is_remote}
        elsewhere = {f.queue.name for f in self if f.is_remote} - here
        stores = [store for store in self.stores() if store.queue.name not in elsewhere]
        if names is None:
            return Served(stores, in_order=False)
        if isinstance(names, str):
            raise DefinitionError(f"queues is {names!r}: give a list of names")
        order = [one if isinstance(one, str) else one.name for one in dict.fromkeys(names)]
        known = {store.queue.name for store in stores}
        there = f"there are: {sorted(known)}"
        if not order:
            raise DefinitionError(f"no queue to serve is named; {there}")
        for name in sorted(set(order) - known):
            raise DefinitionError(f"no task function uses queue {name!r}; {there}")
        chosen = [store for store in stores if store.queue.name in order]
        return Served(sorted(chosen, key=lambda store: order.index(store.queue.name)), True)

    # -- functions ----------------------------------------------------------------------

    def with_functions(self, functions: Iterable[Function]) -> Catalog:
        """A copy with more functions: the handlers of groups, which only workers need."""
        other = Catalog(self._open_store)
        other._stores = dict(self._stores)
        for function in (*self, *functions):
            other.add(function)
        return other

    def add(self, function: Function) -> None:
        """Register a function; the same one, declared again, replaces what it was before.

        Workers that run keep the functions that they began with.

        Raises:
            DefinitionError: another function has the name, or the stream that it adopts.
        """
        for name in function.settings.old_names:
            if name in self._functions:
                raise DefinitionError(
                    f"{name!r} is a task function, and an old name of {function.name!r}"
                )
        before = self._functions.get(function.name)
        if before is not None:
            if not is_declared_again(before.function, function.function):
                raise DefinitionError(
                    f"two task functions are named {function.name!r}: give one a name="
                )
            logger.info("task function %s is declared again and replaced", function.name)
            self._abandon(before)
        try:
            if function.queue.stream is not None:
                self._adopt(function)
        except DefinitionError:
            if before is not None and before.queue.stream is not None:
                self._adopt(before)
            raise
        self._functions[function.name] = function
        self._by_wire_name[function.wire_name] = function
        for name in function.settings.old_names:
            self._by_wire_name.setdefault(encoded_name(name), function)

    def add_following(self, function: Function) -> None:
        """Register a function of tasks that follow the ends of others; nobody else enqueues it."""
        self._following[function.wire_name] = function

    def is_following(self, function: Function) -> bool:
        """Whether a function tells the ends of others' tasks, which is no work of its own."""
        return function.wire_name in self._following

    def _abandon(self, function: Function) -> None:
        """Let another function adopt a function's stream."""
        self._adopting.pop(function.store.place.keys.prefix, None)
        self._adopted_ids.pop(function.queue.id_prefix, None)

    def _adopt(self, function: Function) -> None:
        prefix = function.store.place.keys.prefix
        if prefix in self._adopting:
            raise DefinitionError(
                f"stream {function.queue.stream!r} with group {function.queue.group!r} is"
                f" adopted by {self._adopting[prefix].name!r} already"
            )
        for other in self._adopting.values():
            # Two groups on one stream must both leave its entries to the other.
            if other.queue.stream == function.queue.stream and (
                other.queue.owned or function.queue.owned
            ):
                raise DefinitionError(
                    f"{function.name!r} and {other.name!r} read stream {other.queue.stream!r} with"
                    " different groups: give both keep_entries=True"
                )
        self._adopting[prefix] = function
        if function.queue.keeps_records:
            self._adopted_ids[function.queue.id_prefix] = function.store

    def get(self, name: str) -> Function:
        """Find a function by name.

        Raises:
            UnknownTask: there is none.
        """
        try:
            return self._functions[name]
        except KeyError:
            raise UnknownTask(f"no task function is named {name!r}") from None

    def find(self, wire_name: bytes) -> Function | None:
        """Find a function that runs here by its name as it stands in entries."""
        function = self._by_wire_name.get(wire_name) or self._following.get(wire_name)
        return None if function is None or function.is_remote else function

    def adopting(self, store: QueueStore) -> Function:
        """The function that adopts a queue's stream."""
        return self._adopting[store.place.keys.prefix]

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[Function]:
        return iter(self._functions.values())

    # -- tasks --------------------------------------------------------------------------

    def find_task(self, task_id: str) -> Task[Any]:
        """The handle on a task, by its id alone.

        Raises:
            TaskNotFound: the id names no queue of this app.
        """
        if not task_id.isprintable():
            raise TaskNotFound(f"no task {task_id!r}: no id has such characters")
        prefix = prefix_of(task_id)
        found = self._stores.get(prefix) or self._adopted_ids.get(prefix)
        if found is None:
            raise TaskNotFound(f"no task {task_id}: its id names no queue of this app")
        return Task(task_id, found, decode_any)
