"""Kinds: the classes of task functions, so that each can be called with its own type."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cached_property, partial
from typing import Any, Generic, ParamSpec, TypeVar, cast

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.foreign import load_foreign
from castwork.model.json_types import prepare_type
from castwork.model.signature import Kind, Signature
from castwork.model.streams import as_stream
from castwork.model.task_options import TaskSettings
from castwork.store.queue_store import QueueStore
from castwork.tasks.function import TaskFunction
from castwork.tasks.iterated import iterated
from castwork.tasks.submission import Submission
from castwork.tasks.task import StreamTask, Task

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
T = TypeVar("T")


class CoroutineFunction(TaskFunction[P, R]):
    """A task function that runs on the worker's event loop."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the function here and now, without Redis."""
        return cast("Coroutine[Any, Any, R]", self.function(*args, **kwargs))


class ForgettingCoroutine(TaskFunction[P, None], Generic[P, R]):
    """A task function that runs on the worker's event loop, and whose result is not kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the function here and now, without Redis."""
        return cast("Coroutine[Any, Any, R]", self.function(*args, **kwargs))


class ForgettingPlain(TaskFunction[P, None], Generic[P, R]):
    """A task function that runs in a thread of the worker, and whose result is not kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without Redis."""
        return cast("R", self.function(*args, **kwargs))


class PlainFunction(TaskFunction[P, R]):
    """A task function that runs in a thread of the worker."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without Redis."""
        return cast("R", self.function(*args, **kwargs))


class StreamFunction(TaskFunction[P, R], Generic[P, R, C]):
    """A task function whose items are sent as chunks while it runs."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[C]:
        """Run the function here and now, without Redis."""
        return cast("AsyncIterator[C]", self.function(*args, **kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> StreamTask[R, C]:
        """Enqueue a call, as `TaskFunction.enqueue` does; its handle knows the items' type."""
        return cast("StreamTask[R, C]", await super().enqueue(*args, **kwargs))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> StreamTask[R, C]:
        """Enqueue a call, as `TaskFunction.enqueue_sync` does."""
        return cast("StreamTask[R, C]", super().enqueue_sync(*args, **kwargs))

    def task(self, task_id: str = "", *, id: str = "") -> StreamTask[R, C]:  # noqa: A002
        """The handle on a task of this function, as `TaskFunction.task` gives it."""
        return cast("StreamTask[R, C]", super().task(task_id, id=id))

    def handle(self, task_id: str, created: bool = False, since: float | None = None) -> Task[R]:
        """The handle on a task of this function, as `TaskFunction.handle` gives it."""
        task: StreamTask[R, C]
        task = StreamTask(
            task_id,
            self.store,
            self.decode_result,
            created=created,
            since=since,
            is_watched=created and self.call_settings.cancel_on_disconnect,
        )
        task.load_item = self._load_item
        return task

    @cached_property
    def _load_item(self) -> Callable[[Any], C]:
        kind = prepare_type(self.signature.item_type, f"task function {self.name!r}, items")
        return partial(msgspec.convert, type=kind, dec_hook=load_foreign)


class BatchFunction(TaskFunction[[T], R], Generic[T, R]):
    """A task function of which one call takes the items of several tasks."""

    def __call__(self, items: list[T], /) -> Coroutine[Any, Any, list[R]]:
        """Run the function here and now, for some items, without Redis."""
        return cast("Coroutine[Any, Any, list[R]]", self.function(items))


#: Per kind the class of a task function whose results are kept, and of others.
_KINDS: dict[Kind, tuple[type[TaskFunction[Any, Any]], type[TaskFunction[Any, Any]]]] = {
    Kind.COROUTINE: (CoroutineFunction, ForgettingCoroutine),
    Kind.GENERATOR: (StreamFunction, StreamFunction),
    Kind.THREAD: (PlainFunction, ForgettingPlain),
    Kind.BATCH: (BatchFunction, BatchFunction),
}


_RUNS_IN = {
    Kind.COROUTINE: ("loop",),
    Kind.GENERATOR: ("loop",),
    Kind.BATCH: ("loop",),
    Kind.THREAD: ("thread", "process"),
}


def check_run_in(settings: TaskSettings, signature: Signature) -> None:
    """Refuse a place in which a function of this kind does not run.

    Raises:
        DefinitionError: it says where such a function runs.
    """
    run_in, possible = settings.run_in, _RUNS_IN[signature.kind]
    what = "is plain" if signature.kind is Kind.THREAD else "is async"
    if signature.is_plain:
        possible, what = ("thread",), "streams its items"
    if run_in is not None and run_in not in possible:
        raise DefinitionError(
            f"task {settings.name!r}: run_in is {run_in!r}, and the function {what}, so that it"
            f" runs in {' or '.join(map(repr, possible))}"
        )


def make_task_function(
    function: Callable[..., Any], settings: TaskSettings, store: QueueStore, submission: Submission
) -> TaskFunction[..., Any]:
    """Make a function a task function of its kind.

    Raises:
        DefinitionError: its signature or its types cannot work.
    """
    signature = Signature(function, is_batch=settings.batch is not None)
    if signature.is_plain:
        function = iterated(function)
    elif signature.kind is Kind.GENERATOR and not inspect.isasyncgenfunction(function):
        function = as_stream(function)
    if settings.result is not None and signature.kind is not Kind.GENERATOR:
        raise DefinitionError(
            f"task {settings.name!r}: result= is of generators, whose items are no result; this"
            " function returns its result: annotate it"
        )
    check_run_in(settings, signature)
    keeping, forgetting = _KINDS[signature.kind]
    made = keeping if settings.keep_result else forgetting
    return made(function, signature, settings, store, submission)
