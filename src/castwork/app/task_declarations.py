"""Declarations of task functions and queues: the decorators `task` and `remote`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, get_type_hints, overload

from castwork.model.batch import Batch
from castwork.model.credentials import CredentialSource
from castwork.model.definable import check_definable
from castwork.model.errors import DefinitionError
from castwork.model.limits import AtOnce, Rate
from castwork.model.option_values import refuse_unknown
from castwork.model.queue import Queue, QueueSettings
from castwork.model.settings import AppSettings
from castwork.model.task_options import RemoteOptions, TaskOptions, TaskSettings
from castwork.redis.connections import Connections
from castwork.redis.server import Needs
from castwork.server_url import ServerUrl
from castwork.store.queue_store import QueueStore
from castwork.tasks.catalog import Catalog
from castwork.tasks.chain import Chain
from castwork.tasks.declared import Declared, remember
from castwork.tasks.decorators import (
    BatchDecorator,
    ForgettingDecorator,
    ResultDecorator,
    TaskDecorator,
)
from castwork.tasks.end_hooks import EndHooks
from castwork.tasks.function import TaskFunction
from castwork.tasks.kinds import (
    CoroutineFunction,
    PlainFunction,
    StreamFunction,
    make_task_function,
)
from castwork.tasks.producer import Producer
from castwork.tasks.queue import Queue as PublicQueue
from castwork.tasks.submission import Elsewhere, Submission

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class TaskDeclarations:
    """The task functions and queues of an app, and the way to their server.

    Args:
        url, settings, credentials, env: as of `App`.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: AppSettings | None,
        credentials: CredentialSource | None,
        env: str | None,
    ) -> None:
        self.settings = settings or AppSettings()
        self.server_url = ServerUrl(url, env)
        self._connections = Connections(
            self.server_url.find,
            self.settings.link,
            credentials=credentials,
            needs=self.needs,
        )
        self._producers: dict[str, Producer] = {}
        self._around_enqueue = Chain()
        self._around_task = Chain()
        self._elsewhere = Elsewhere()
        self.end_hooks = EndHooks()
        self._catalog = Catalog(self._open_store)

    def needs(self) -> Needs:
        """What the server must be for what is declared."""
        return Needs(bool(self._catalog.stores()), self.settings.allow_eviction)

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineFunction[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> PlainFunction[P, R]: ...
    @overload
    def task(self, /, *, batch: Batch, **options: Unpack[TaskOptions]) -> BatchDecorator: ...
    @overload
    def task(self, /, *, result: type[R], **options: Unpack[TaskOptions]) -> ResultDecorator[R]: ...
    @overload
    def task(
        self, /, *, keep_result: Literal[False], **options: Unpack[TaskOptions]
    ) -> ForgettingDecorator: ...
    @overload
    def task(
        self, /, *, keep_result: Literal[True] = True, **options: Unpack[TaskOptions]
    ) -> TaskDecorator: ...

    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a task function, as `@app.task` or `@app.task(...)`.

        Coroutine functions run on the worker's event loop, plain functions in a thread, and
        generators of either kind stream each item as a chunk.

        Args:
            name: name on the wire; the function's own by default.
            queue: name of the queue; with `stream` the name under which workers serve the stream.
            priority: `high`, `normal` or `low`, unless a call says another.
            deadline: seconds after which nobody wants a task: it expires, also while it runs.
            old_names: names that the function had before: tasks enqueued under them run, too.
            attempts: runs that may fail before a task is dead-lettered; with 1 it is not run again
                after a crash of its worker, either.
            timeout: seconds that one attempt may take; None for no bound.
            result_ttl: seconds that the result is kept.
            batch: a `Batch`, for a function of a list of items that returns a list of results: one
                call takes the items of several tasks, each with an outcome of its own.
            result: of a generator, the type of what `current().set_result` is given; without it
                the items are the result.
            keep_result: whether the result is kept; else `result()` waits, and answers None.
            backoff: waits between attempts.
            retry_on: a tuple of exceptions; only these are tried again, TimeoutError among them
                for an attempt that takes too long. Others make a dead letter at once.
            give_up_on: a tuple of exceptions that make a dead letter at once.
            schedule: a `Cron` or an `Every`: when it runs by itself, once in the fleet.
            run_in: `process` for a plain function that computes: a child process of the worker's
                runs it, which may die of it, and which a timeout or a cancel really ends.
            stream: adopt this stream: its entries' fields are the arguments, the entry's id
                is the task id.
            group: the consumer group on that stream.
            keep_entries: leave finished entries in that stream, because others read it too.
            foreign_lease: seconds for which an entry that another program's consumer has taken
                with the same group is left to that program, which renews no lease.
            serial_by: an argument's name, `tenant`, `owner`, or a function of the `Call`: of the
                tasks that it is the same for, one at a time runs, in the order of enqueueing; the
                others wait also while one waits for its retry.
            limits: a list of `Rate` and `AtOnce`, which hold over all workers: a task for which
                there is no room waits without a slot, and no attempt is counted.

        Raises:
            DefinitionError: the signature or an option cannot work.
        """
        if function is not None:
            return self._declare(function, options)
        return lambda decorated: self._declare(decorated, options)

    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineFunction[P, R]: ...
    @overload
    def remote(self, function: Callable[P, R], /) -> PlainFunction[P, R]: ...
    @overload
    def remote(
        self, /, *, batch: Literal[True], **options: Unpack[RemoteOptions]
    ) -> BatchDecorator: ...
    @overload
    def remote(
        self, /, *, result: type[R], **options: Unpack[RemoteOptions]
    ) -> ResultDecorator[R]: ...
    @overload
    def remote(self, /, **options: Unpack[RemoteOptions]) -> TaskDecorator: ...

    def remote(self, function: Any = None, /, **options: Any) -> Any:
        """Declare a task function whose code lives elsewhere: its signature is all, to enqueue it.

        As `@app.remote` or `@app.remote(queue="gpu")`. Its body never runs in a worker: workers of
        this app leave such tasks, and queues that have no other functions, to the workers of the
        program that has the code. Name and queue must be the same there.

        Args:
            options: those of `task` that concern the tasks and not how they are run.

        Raises:
            DefinitionError: the signature or an option cannot work.
        """
        refuse_unknown(
            "a remote task function", options, [*get_type_hints(RemoteOptions), "result", "batch"]
        )

        def declare(decorated: Callable[..., Any]) -> Any:
            made = self._declare(decorated, options)
            made.is_remote = True
            return made

        return declare if function is None else declare(function)

    def _declare(self, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
        check_definable(function, is_named="name" in options)
        settings = TaskSettings.of(function.__name__, options)
        made = self._make(function, settings, self._catalog.store_for(settings))
        if settings.schedule is not None and made.signature.required:
            raise DefinitionError(
                f"task {made.name!r} runs by its schedule without arguments: give defaults to"
                f" {', '.join(made.signature.required)}, or schedule a call of it"
            )
        self._catalog.add(made)
        remember(Declared(made, self._around_task, self.server_url))
        return made

    def _make(
        self, function: Callable[..., Any], settings: TaskSettings, store: QueueStore
    ) -> TaskFunction[..., Any]:
        submission = Submission(
            self._producer(store),
            self._find_producer,
            self._around_enqueue,
            self.end_hooks,
            self._elsewhere,
        )
        return make_task_function(function, settings, store, submission)

    def _producer(self, store: QueueStore) -> Producer:
        prefix = store.place.keys.prefix
        producer = self._producers.get(prefix)
        if producer is None or producer.store is not store:
            producer = self._producers[prefix] = Producer(store, self.settings.limits)
        return producer

    def _find_producer(self, queue: str) -> Producer:
        return self._producer(self._catalog.store_of(queue))

    def _open_store(self, queue: Queue) -> QueueStore:
        settings = self.settings
        store = QueueStore(self._connections, settings.namespace, queue, settings.limits)
        store.follow_up = self.end_hooks.follow_up
        store.beside = self._catalog.store_beside
        return store

    def queue(
        self,
        name: str,
        *,
        max_depth: int = 0,
        concurrency: int | None = None,
        limits: Sequence[Rate | AtOnce] = (),
    ) -> PublicQueue:
        """A queue, with its bounds; the same object for the same name.

        The bounds are said once, before the queue's task functions or behind them.

        Args:
            name: the queue's name.
            max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`; 0 for no
                bound.
            concurrency: tasks of the queue that one worker runs at once.
            limits: a list of `Rate` and `AtOnce`, which hold over all workers and functions; by
                `tenant`, `owner` or a function of the `Call`.

        Raises:
            DefinitionError: the queue has other bounds already, or adopts a stream that cannot
                have them.
        """
        settings = QueueSettings(max_depth, concurrency, limits)
        return self._catalog.declare_queue(name, settings if settings != QueueSettings() else None)
