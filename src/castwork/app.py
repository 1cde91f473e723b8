"""App: the front door. It builds the parts and hands out what users work with."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from castwork.channels.channel import Channel
from castwork.channels.event import EventCodec
from castwork.channels.setting import Setting
from castwork.inspect.inspector import Inspector, QueueInfo
from castwork.model.codec import decode_any
from castwork.model.errors import DefinitionError, TaskNotFound
from castwork.model.settings import AppSettings, QueueSettings, TaskSettings, WorkerSettings
from castwork.redis.connections import Connections
from castwork.redis.keys import ChannelKeys, WorkerKeys
from castwork.tasks.dead_letters import DeadLetters
from castwork.tasks.function import TaskFunction
from castwork.tasks.options import TaskDecorator, TaskOptions, WorkerOptions
from castwork.tasks.portal import Portal
from castwork.tasks.producer import Producer
from castwork.tasks.queue import Queue, adopted_queue, own_queue
from castwork.tasks.registry import Registry
from castwork.tasks.task import Task

if TYPE_CHECKING:
    # Loaded when used: a process that only enqueues starts without them.
    from castwork.embedded import EmbeddedServer
    from castwork.tasks.worker import StartHook, Worker

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Hook = TypeVar("Hook", bound=Callable[[], Awaitable[None] | None])

#: Overrides every app's URL: `castwork up` and deployments set it for their processes.
URL_VARIABLE = "CASTWORK_URL"


class App:
    """One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do.

    Nothing connects before it is needed: the first call does, or `async with app`, which also
    begins to run this process's channel handlers and to follow its settings.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `embedded://` for a private server that
            lives as long as this process (`embedded:///path` keeps its data there). The
            environment variable `CASTWORK_URL` takes precedence.
        settings: namespace, timeouts and bounds.
    """

    def __init__(self, url: str = "embedded://", *, settings: AppSettings | None = None) -> None:
        self.settings = settings or AppSettings()
        self._url = url
        self._embedded: EmbeddedServer | None = None
        self._lock = threading.Lock()
        self._connections = Connections(self.find_url, self.settings.link)
        self._producer = Producer(self._connections, self.settings.limits)
        self._portal = Portal(self.find_url, self.settings.link, self.settings.limits)
        self._registry = Registry()
        self._queues: dict[str, Queue] = {}
        self._start_hooks: list[StartHook] = []
        self.channels: dict[str, Channel[Any]] = {}
        self.shared_settings: dict[str, Setting[Any]] = {}
        self._worker_keys = WorkerKeys(self.settings.namespace)
        self._inspector = Inspector(self._connections, self._worker_keys)

    # -- declaring ----------------------------------------------------------------------

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, AsyncIterator[str]], /
    ) -> TaskFunction[P, str]: ...
    @overload
    def task(self, function: Callable[P, AsyncIterator[T]], /) -> TaskFunction[P, list[T]]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> TaskFunction[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...
    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, function: Any = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Make a function a task function, as `@app.task` or `@app.task(...)`.

        Coroutine functions run on the worker's event loop, plain functions in a thread, and
        async generators stream each item as a chunk.

        Args:
            name: name on the wire; the function's own by default.
            queue: name of the queue.
            attempts: deliveries before a task is dead-lettered, crashes included.
            timeout: seconds that one attempt may take; None for no bound.
            result_ttl: seconds that the result is kept.
            backoff: waits between attempts.
            stream: adopt this stream: its entries' fields are the arguments, the entry's id
                is the task id.
            group: the consumer group on that stream.
            keep_entries: leave finished entries in that stream, because others read it too.

        Raises:
            DefinitionError: the signature or an option cannot work.
        """
        if function is not None:
            return self._declare(function, options)
        return lambda decorated: self._declare(decorated, options)

    def _declare(self, function: Callable[..., Any], options: TaskOptions) -> Any:
        values: dict[str, Any] = {"name": function.__name__, **options}
        owned = not values.pop("keep_entries", False)
        settings = TaskSettings(**values)
        if settings.stream is not None:
            queue = adopted_queue(settings.stream, settings.group, owned=owned)
        else:
            queue = self._queue(settings.queue)
        return self._add(function, settings, queue)

    def _add(
        self, function: Callable[..., Any], settings: TaskSettings, queue: Queue
    ) -> TaskFunction[..., Any]:
        made: TaskFunction[..., Any] = TaskFunction(
            function, settings, queue, self._connections, self._producer, self._portal
        )
        self._registry.add(made)
        return made

    def queue(self, name: str, *, max_depth: int = 0, concurrency: int | None = None) -> None:
        """Set the bounds of a queue, before the first task function that uses it.

        Args:
            name: the queue's name.
            max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`.
            concurrency: its tasks that one worker runs at once.

        Raises:
            DefinitionError: the queue is in use already.
        """
        if name in self._queues:
            raise DefinitionError(f"queue {name!r} is in use: set its bounds before its tasks")
        bounds = QueueSettings(max_depth, concurrency)
        self._queues[name] = own_queue(self.settings.namespace, name, bounds)

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            self._queues[name] = own_queue(self.settings.namespace, name)
        return self._queues[name]

    def channel(self, name: str, kind: type[R] = Any, *, history: int = 0) -> Channel[R]:  # type: ignore[assignment]
        """Declare a channel.

        Args:
            name: its name; without history that is exactly the Redis channel's name.
            kind: type of its events: a struct, a dataclass, a Pydantic model, a dict ...
            history: events that are kept, so that subscribers can catch up; 0 for none.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.channels:
            raise DefinitionError(f"channel {name!r} is declared twice")
        codec = EventCodec(name, kind, self.settings.limits.payload)
        keys = ChannelKeys(self.settings.namespace, name) if history else None
        channel = Channel(name, codec, self._connections, keys, history=history)
        self.channels[name] = channel
        return channel

    def setting(self, name: str, kind: type[R], *, default: R) -> Setting[R]:
        """Declare a setting that every process shares; read it as `setting.value`.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.shared_settings:
            raise DefinitionError(f"setting {name!r} is declared twice")
        codec = EventCodec(name, kind, self.settings.limits.payload)
        keys = ChannelKeys(self.settings.namespace, f"setting.{name}")
        setting = Setting(name, codec, self._connections, keys, default)
        self.shared_settings[name] = setting
        return setting

    def on_worker_start(self, hook: Hook) -> Hook:
        """Have every worker call a function before it claims tasks: to load a model, say.

        A hook that raises ends the worker: it does not take tasks that it cannot run.
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
        await self._connections.open()
        for setting in self.shared_settings.values():
            await setting.start()
        for channel in self.channels.values():
            await channel.start()

    async def close(self) -> None:
        """Stop the handlers, close the connections, end the embedded server."""
        for channel in self.channels.values():
            await channel.stop()
        for setting in self.shared_settings.values():
            await setting.stop()
        await self._connections.close()
        self._portal.close()
        with self._lock:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()

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
            queues: names of the queues to serve; all by default.
            on_stuck: called when the event loop is blocked for good.
            options: see `WorkerSettings`.

        Raises:
            DefinitionError: a queue has no task function, or there is none at all.
        """
        from castwork.tasks.worker import Worker

        self._declare_groups()
        served = self._registry.queues()
        if queues is not None:
            known = {queue.name: queue for queue in served}
            missing = [name for name in queues if name not in known]
            if missing:
                raise DefinitionError(
                    f"no task function uses queue {missing[0]!r}; there are: {sorted(known)}"
                )
            served = [known[name] for name in queues]
        return Worker(
            self._connections,
            self._registry,
            served,
            self._worker_keys,
            WorkerSettings(**options),
            self.settings.limits,
            on_start=self._start_hooks,
            on_stuck=on_stuck,
        )

    def _declare_groups(self) -> None:
        """Make each group handler a task function that adopts its channel's history."""
        for channel in self.channels.values():
            for group in channel.groups:
                name = f"{channel.name}:{group.group}"
                if any(function.name == name for function in self._registry):
                    continue
                assert channel.keys is not None
                settings = TaskSettings(
                    name=name,
                    attempts=group.attempts,
                    timeout=group.timeout,
                    stream=channel.keys.history,
                    group=group.group,
                )
                queue = adopted_queue(
                    channel.keys.history,
                    group.group,
                    name=name,
                    owned=False,
                    keeps_records=False,
                )
                self._add(channel.group_runner(group), settings, queue)

    # -- finding ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL as configured, `embedded://` included: nothing is started or resolved."""
        return os.environ.get(URL_VARIABLE) or self._url

    def find_url(self) -> str:
        """The server's URL; starts the embedded server when there is none yet. Blocks."""
        url = self.url
        if not url.startswith("embedded://"):
            return url
        with self._lock:
            if self._embedded is None:
                from castwork.embedded import EmbeddedServer

                folder = url.removeprefix("embedded://")
                self._embedded = EmbeddedServer(data=Path(folder) if folder else None)
                self._embedded.start()
            return self._embedded.url

    @property
    def connections(self) -> Connections:
        """The connections, for the gateway's health checks."""
        return self._connections

    @property
    def tasks(self) -> Registry:
        """The task functions, by name."""
        return self._registry

    def get_task(self, task_id: str) -> Task[Any]:
        """The handle on a task, by its id alone.

        Raises:
            TaskNotFound: the id names no queue of this app.
        """
        # The unique part may hold dashes of its own, if another program made the id.
        fitting = [name for name in self._queues if task_id.startswith(f"{name}-")]
        if fitting:
            name = max(fitting, key=len)
            return Task(task_id, self._queues[name], self._connections, decode_any)
        for function in self._registry.adopting_for(task_id):
            return Task(task_id, function.queue, self._connections, decode_any)
        raise TaskNotFound(f"no task {task_id}: its id names no queue of this app")

    async def queues(self) -> list[QueueInfo]:
        """What waits and runs in each queue."""
        infos = []
        for queue in self._registry.queues():
            if queue.keeps_records:
                lanes = [(lane.name, lane.stream, lane.group) for lane in queue.lanes]
                bound = queue.settings.max_depth
                infos.append(
                    await self._inspector.queue(queue.name, queue.keys, lanes, max_depth=bound)
                )
        return infos

    async def workers(self) -> list[dict[str, Any]]:
        """The live workers and what they run."""
        return await self._inspector.workers()

    def dead_letters(self) -> list[DeadLetters]:
        """The dead letters of each queue, group subscriptions included."""
        self._declare_groups()
        return [DeadLetters(self._connections, queue) for queue in self._registry.queues()]
