"""Declarations: what an app consists of, and the decorators that say so."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, overload

from castwork.channels.channel import Channel, GroupHandler
from castwork.channels.event import EventCodec
from castwork.channels.setting import Setting
from castwork.model.credentials import CredentialSource
from castwork.model.definable import check_definable
from castwork.model.errors import DefinitionError
from castwork.model.option_values import refuse_unknown
from castwork.model.queue import Queue, QueueSettings
from castwork.model.settings import AppSettings
from castwork.model.task_options import RemoteOptions, TaskOptions, TaskSettings
from castwork.redis.connections import Connections
from castwork.redis.server import Needs
from castwork.server_url import ServerUrl
from castwork.store.queue_store import QueueStore
from castwork.tasks.call import Call
from castwork.tasks.catalog import Catalog
from castwork.tasks.chain import Chain, Proceed, ProceedSync
from castwork.tasks.decorators import ForgettingDecorator, ResourceDecorator, TaskDecorator
from castwork.tasks.end_hooks import EndHook, EndHooks, Final, add_hook
from castwork.tasks.function import Elsewhere, Submission, TaskFunction
from castwork.tasks.kinds import (
    CoroutineFunction,
    PlainFunction,
    StreamFunction,
    make_task_function,
)
from castwork.tasks.producer import Producer
from castwork.tasks.queue import Queue as PublicQueue
from castwork.tasks.resource import Resource, Resources

if TYPE_CHECKING:
    # Loaded when used: a process that only enqueues starts without these modules.
    from castwork.worker.preparation import StartHook

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C")
Hook = TypeVar("Hook", bound=Callable[[], Awaitable[None] | None])
EndHookT = TypeVar("EndHookT", bound=EndHook)
AroundAsync = TypeVar("AroundAsync", bound=Callable[[Call[Any], Proceed], Awaitable[Any]])
AroundPlain = TypeVar("AroundPlain", bound=Callable[[Call[Any], ProceedSync], Any])


class Declarations:
    """What an app consists of: its task functions, queues, channels, settings and hooks.

    Args:
        url, settings, credentials, env: as of `App`.
    """

    def __init__(
        self,
        url: str = "embedded://",
        *,
        settings: AppSettings | None = None,
        credentials: CredentialSource | None = None,
        env: str | None = "CASTWORK",
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
        self.end_hooks = EndHooks()
        self._elsewhere = Elsewhere()
        self._catalog = Catalog(self._open_store)
        self._groups: dict[str, tuple[GroupHandler, TaskFunction[..., Any]]] = {}
        self._start_hooks: list[StartHook] = []
        self._resources = Resources()
        self.channels: dict[str, Channel[Any]] = {}
        self.shared_settings: dict[str, Setting[Any]] = {}

    def needs(self) -> Needs:
        """What the server must be for what is declared."""
        kept = any(channel.has_history for channel in self.channels.values())
        kept = kept or bool(self.shared_settings or self._catalog.stores())
        return Needs(kept, self.settings.allow_eviction)

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]], /
    ) -> StreamFunction[P, str, str]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineFunction[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> PlainFunction[P, R]: ...
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
        async generators stream each item as a chunk.

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
            keep_result: whether the result is kept; else `result()` waits, and answers None.
            backoff: waits between attempts.
            retry_on: a tuple of exceptions; only these are tried again, TimeoutError among them
                for an attempt that takes too long. Others make a dead letter at once.
            give_up_on: a tuple of exceptions that make a dead letter at once.
            schedule: a `Cron` or an `Every`: when it runs by itself, once in the fleet.
            stream: adopt this stream: its entries' fields are the arguments, the entry's id
                is the task id.
            group: the consumer group on that stream.
            keep_entries: leave finished entries in that stream, because others read it too.
            foreign_lease: seconds for which an entry that another program's consumer has taken
                with the same group is left to that program, which renews no lease.

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
        self, function: Callable[P, AsyncIterator[C]], /
    ) -> StreamFunction[P, list[C], C]: ...
    @overload
    def remote(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineFunction[P, R]: ...
    @overload
    def remote(self, function: Callable[P, R], /) -> PlainFunction[P, R]: ...
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
        refuse_unknown("a remote task function", options, RemoteOptions.__annotations__)

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
        return store

    def queue(
        self, name: str, *, max_depth: int = 0, concurrency: int | None = None
    ) -> PublicQueue:
        """A queue, with its bounds; the same object for the same name.

        The bounds are said once, before the queue's task functions or behind them.

        Args:
            name: the queue's name.
            max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`; 0 for no
                bound.
            concurrency: tasks of the queue that one worker runs at once.

        Raises:
            DefinitionError: the queue has other bounds already, or adopts a stream.
        """
        settings = QueueSettings(max_depth, concurrency)
        return self._catalog.declare_queue(name, settings if settings != QueueSettings() else None)

    def channel(self, name: str, kind: type[R] = Any, *, history: int = 0) -> Channel[R]:  # type: ignore[assignment]
        """Declare a channel.

        Args:
            name: the channel's name; without history exactly the Redis channel's name.
            kind: type of the events: a struct, a dataclass, a Pydantic model, a dict ...
            history: events that are kept, so that subscribers can catch up; 0 for none.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.channels:
            raise DefinitionError(f"channel {name!r} is declared twice")
        codec = EventCodec(f"channel {name!r}", kind, self.settings.limits.payload)
        namespace = self.settings.namespace
        channel = Channel(name, codec, self._connections, namespace, history=history)
        self.channels[name] = channel
        return channel

    def setting(self, name: str, kind: type[R], *, default: R) -> Setting[R]:
        """Declare a setting that every process shares; read it as `setting.value`.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.shared_settings:
            raise DefinitionError(f"setting {name!r} is declared twice")
        codec = EventCodec(f"setting {name!r}", kind, self.settings.limits.payload)
        setting = Setting(name, codec, self._connections, self.settings.namespace, default)
        self.shared_settings[name] = setting
        return setting

    @overload
    def resource(self, make: Callable[[], AsyncIterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], Iterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], T], /) -> Resource[T]: ...
    @overload
    def resource(self, /, *, queues: Sequence[str | PublicQueue]) -> ResourceDecorator: ...

    def resource(
        self, make: Any = None, /, *, queues: Sequence[str | PublicQueue] | None = None
    ) -> Any:
        """Declare what workers make before they claim tasks, and close when the last has ended.

        As `@app.resource` or `@app.resource(queues=[...])`, on a coroutine function, a plain
        function (which runs in a thread), or a generator of either kind that yields the value once.
        Functions read it as `resource.value`. A process makes each once, in the order of
        declaration, so that one may read another that was declared before. When one raises, the
        worker ends, and takes no tasks that it could not run.

        Args:
            queues: only workers that serve one of these make it.
        """
        names = None
        if queues is not None:
            names = [one if isinstance(one, str) else one.name for one in queues]

        def declare(maker: Callable[[], Any]) -> Resource[Any]:
            made: Resource[Any] = Resource(maker, names)
            self._resources.add(made)
            return made

        return declare if make is None else declare(make)

    @overload
    def around_task(self, wrapper: AroundAsync, /) -> AroundAsync: ...
    @overload
    def around_task(self, wrapper: AroundPlain, /) -> AroundPlain: ...

    def around_task(self, wrapper: Any, /) -> Any:
        """Have a function called around each attempt, group handlers' included.

        It gets the `Call` and `proceed`, which goes on with the attempt and answers its result: a
        stream's when it has ended. The first wrapper that is declared is the outermost one. A
        coroutine function runs on the worker's event loop, and awaits `proceed()`. A plain function
        is called around plain functions only, in their own thread. What a wrapper raises is the
        attempt's failure. Declare wrappers before workers start.
        """
        if inspect.iscoroutinefunction(wrapper):
            self._around_task.add(wrapper)
        else:
            self._around_task.add_plain(wrapper)
        return wrapper

    def around_enqueue(self, wrapper: AroundAsync) -> AroundAsync:
        """Have a coroutine function called around each enqueue, those of `enqueue_many` included.

        It gets the `Call`, whose owner, tenant, labels and headers it may change, and `proceed`,
        which enqueues and answers the task. What it raises reaches the caller, and then there is
        no task. It must not leave out `proceed()` without raising.

        Raises:
            DefinitionError: it is no coroutine function.
        """
        given: Any = wrapper
        if not inspect.iscoroutinefunction(given):
            name = getattr(wrapper, "__name__", wrapper)
            raise DefinitionError(f"{name!r} wraps enqueues on an event loop: make it async")
        self._around_enqueue.add(wrapper)
        return wrapper

    @overload
    def on_end(self, hook: EndHookT, /) -> EndHookT: ...
    @overload
    def on_end(self, *states: Final) -> Callable[[EndHookT], EndHookT]: ...

    def on_end(self, *given: Any) -> Any:
        """Have a function called when a task of any function has ended; see `TaskFunction.on_end`.

        As `@app.on_end`, or `@app.on_end("failed", "dead")` for some ends.
        """
        return add_hook(self.end_hooks, "", given)

    def on_worker_start(self, hook: Hook) -> Hook:
        """Have every worker call a function before it claims tasks: to load a model, say.

        When the hook raises, the worker ends, and takes no tasks that it could not run.
        """
        self._start_hooks.append(hook)
        return hook
