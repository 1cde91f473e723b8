"""App: what users begin with. It builds the parts, and gives access to tasks and channels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from castwork.channels.channel import Channel, GroupHandler
from castwork.channels.event import EventCodec
from castwork.channels.setting import Setting
from castwork.inspect.inspector import Inspector
from castwork.model.credentials import CredentialSource
from castwork.model.definable import check_definable
from castwork.model.errors import DefinitionError
from castwork.model.names import quoted
from castwork.model.queue import Queue, QueueSettings, adopted_queue
from castwork.model.settings import AppSettings
from castwork.model.task_options import TaskOptions, TaskSettings
from castwork.model.twins import find_twin
from castwork.model.worker_options import WorkerOptions, WorkerSettings
from castwork.redis.connections import Connections
from castwork.redis.server import Needs
from castwork.server_url import ServerUrl
from castwork.store.look import QueueInfo
from castwork.store.queue_store import QueueStore
from castwork.tasks.catalog import Catalog
from castwork.tasks.chain import Chain
from castwork.tasks.dead_letters import DeadLetters
from castwork.tasks.decorators import TaskDecorator
from castwork.tasks.function import (
    CoroutineFunction,
    PlainFunction,
    StreamFunction,
    Submission,
    TaskFunction,
    make_task_function,
)
from castwork.tasks.producer import Producer
from castwork.tasks.task import Task

if TYPE_CHECKING:
    # Loaded when used: a process that only enqueues starts without these modules.
    from castwork.worker.worker import StartHook, Worker

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
Hook = TypeVar("Hook", bound=Callable[[], Awaitable[None] | None])


class App:
    """Tasks and channels on one Redis: enqueue a call for one worker, publish an event for all.

    The first call connects, or `async with app`, which also begins to run this process's channel
    handlers and to follow its settings.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `embedded://` for a server of this
            project's processes, which ends with the last of them (`embedded:///path` keeps its
            data there). The environment variable `CASTWORK_URL` takes precedence, then the file
            that `CASTWORK_URL_FILE` names.
        settings: namespace, timeouts and bounds.
        credentials: a function or coroutine function that gives and renews the login, such as
            `castwork.azure.EntraLogin()`; not asked for a URL with a password or a Unix socket.
        env: what the names of those variables begin with: a second app of a program has another,
            as "STOCK" for `STOCK_URL`. None reads no variable.
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
        self._catalog = Catalog(self._open_store)
        self._groups: dict[str, tuple[GroupHandler, TaskFunction[..., Any]]] = {}
        self._start_hooks: list[StartHook] = []
        self.channels: dict[str, Channel[Any]] = {}
        self.shared_settings: dict[str, Setting[Any]] = {}
        self._inspector = Inspector(self._connections, self.settings.namespace)

    def needs(self) -> Needs:
        """What the server must be for what is declared."""
        kept = any(channel.has_history for channel in self.channels.values())
        kept = kept or bool(self.shared_settings or self._catalog.stores())
        return Needs(kept, self.settings.allow_eviction)

    # -- declaring ----------------------------------------------------------------------

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
    def task(self, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, function: Any = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Make a function a task function, as `@app.task` or `@app.task(...)`.

        Coroutine functions run on the worker's event loop, plain functions in a thread, and
        async generators stream each item as a chunk.

        Args:
            name: name on the wire; the function's own by default.
            queue: name of the queue; with `stream` the name under which workers serve the stream.
            attempts: runs that may fail before a task is dead-lettered; with 1 it is not run again
                after a crash of its worker, either.
            timeout: seconds that one attempt may take; None for no bound.
            result_ttl: seconds that the result is kept.
            backoff: waits between attempts.
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

    def _declare(self, function: Callable[..., Any], options: TaskOptions) -> Any:
        check_definable(function, is_named="name" in options)
        settings = TaskSettings.of(function.__name__, options)
        made = self._make(function, settings, self._catalog.store_for(settings))
        self._catalog.add(made)
        return made

    def _make(
        self, function: Callable[..., Any], settings: TaskSettings, store: QueueStore
    ) -> TaskFunction[..., Any]:
        prefix = store.place.keys.prefix
        producer = self._producers.get(prefix)
        if producer is None or producer.store is not store:
            producer = self._producers[prefix] = Producer(store, self.settings.limits)
        submission = Submission(producer, self._around_enqueue)
        return make_task_function(function, settings, store, submission)

    def _open_store(self, queue: Queue) -> QueueStore:
        return QueueStore(self._connections, self.settings.namespace, queue, self.settings.limits)

    def queue(self, name: str, *, max_depth: int = 0, concurrency: int | None = None) -> None:
        """Set the bounds of a queue, before the first task function that uses it.

        Args:
            name: the queue's name.
            max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`.
            concurrency: tasks of the queue that one worker runs at once.

        Raises:
            DefinitionError: the queue is in use already.
        """
        self._catalog.declare_queue(name, QueueSettings(max_depth, concurrency))

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

    def on_worker_start(self, hook: Hook) -> Hook:
        """Have every worker call a function before it claims tasks: to load a model, say.

        When the hook raises, the worker ends, and takes no tasks that it could not run.
        """
        self._start_hooks.append(hook)
        return hook

    # -- running ------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, follow the settings, and begin to run this process's channel handlers.

        Raises:
            ServerUnavailable: no server answers.
            AuthenticationFailed: the login is refused.
            ServerUnsupported: the server would lose tasks.
        """
        find_twin(self)  # which is warned of
        await self._connections.open()
        try:
            for setting in self.shared_settings.values():
                await setting.start()
            for channel in self.channels.values():
                await channel.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop the handlers, close the connections, leave the embedded server."""
        for channel in self.channels.values():
            await channel.stop()
        for setting in self.shared_settings.values():
            await setting.stop()
        await self._connections.close()
        self.server_url.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        await self.close()

    def worker(
        self,
        queues: Sequence[str] | None = None,
        *,
        on_stuck: Callable[[str], None] | None = None,
        **options: Unpack[WorkerOptions],
    ) -> Worker:
        """Make a worker for this app's task functions and group handlers.

        Args:
            queues: names of the queues to serve; a slot that becomes free goes to the first of
                them that has tasks. All by default, in turn.
            on_stuck: called with the reason when the process should be replaced: on a thread when
                the event loop has been blocked for longer than a lease and past a task's timeout,
                or, once the worker has stopped, when plain functions that hang took all slots of a
                queue.
            options: see `WorkerSettings`.

        Raises:
            DefinitionError: a queue has no task function, or the app has none at all.
        """
        from castwork.worker.worker import Worker

        functions = [*self._group_functions(), *self._functions_of_twin()]
        catalog = self._catalog.with_functions(functions)
        return Worker(
            self._connections,
            catalog,
            catalog.serving(queues),
            WorkerSettings.of(options),
            self.settings,
            around=self._around_task,
            on_start=self._start_hooks,
            on_stuck=on_stuck,
        )

    def _group_functions(self) -> list[TaskFunction[..., Any]]:
        """Each group handler as a task function that adopts its channel's history."""
        for channel in self.channels.values():
            for group in channel.groups:
                name = f"{channel.name}:{quoted(group.group, ':{}')}"
                if name in self._groups and self._groups[name][0] is group:
                    continue
                settings = TaskSettings(
                    name=name,
                    attempts=group.attempts,
                    timeout=group.timeout,
                    stream=channel.history_stream,
                    group=group.group,
                )
                queue = adopted_queue(
                    channel.history_stream, group.group, name=name, owned=False, keeps_records=False
                )
                runner = channel.group_runner(group)
                made = self._make(runner, settings, self._open_store(queue))
                self._groups[name] = group, made
        return [function for _, function in self._groups.values()]

    def _functions_of_twin(self) -> list[TaskFunction[..., Any]]:
        """What other modules declared on a second copy of this app, see `find_twin`."""
        twin = find_twin(self)
        return [
            self._make(one.function, one.settings, self._catalog.store_for(one.settings))
            for one in (twin.tasks if twin is not None else ())
            if one.name not in self._catalog
        ]

    # -- finding ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL as configured, `embedded://` included: nothing is started or resolved."""
        return self.server_url.configured

    @property
    def connections(self) -> Connections:
        """The connections, for the gateway's health checks."""
        return self._connections

    @property
    def tasks(self) -> Catalog:
        """The task functions, by name."""
        return self._catalog

    def get_task(self, task_id: str) -> Task[Any]:
        """The handle on a task, by its id alone.

        Raises:
            TaskNotFound: the id names no queue of this app.
        """
        return self._catalog.find_task(task_id)

    def served(self) -> list[QueueStore]:
        """The queues that a worker would serve, group subscriptions included."""
        return self._catalog.with_functions(self._group_functions()).stores()

    async def queues(self) -> list[QueueInfo]:
        """What waits and runs in each queue."""
        return await self._inspector.queues(self._catalog.stores())

    async def workers(self) -> list[dict[str, Any]]:
        """The live workers and what they run."""
        return await self._inspector.workers()

    def dead_letters(self) -> list[DeadLetters]:
        """The dead letters of each queue, group subscriptions included."""
        return [DeadLetters(store) for store in self.served()]
