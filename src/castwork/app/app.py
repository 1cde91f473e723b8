"""App: what users begin with. It builds the parts, and gives access to tasks and channels."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from castwork.app.declarations import Declarations
from castwork.app.plain_client import PlainClients
from castwork.inspect.inspector import Inspector
from castwork.model.call_options import CallSettings
from castwork.model.credentials import CredentialSource
from castwork.model.errors import DefinitionError
from castwork.model.names import quoted
from castwork.model.option_values import Seconds
from castwork.model.queue import adopted_queue
from castwork.model.settings import AppSettings
from castwork.model.task_options import TaskSettings
from castwork.model.twins import find_twin
from castwork.model.worker_options import WorkerOptions, WorkerSettings
from castwork.redis.connections import Connections
from castwork.store.look import QueueInfo
from castwork.store.queue_store import QueueStore
from castwork.tasks.call import Call
from castwork.tasks.carrying import Carrier
from castwork.tasks.catalog import Catalog
from castwork.tasks.chain import Wrapper
from castwork.tasks.dead_letters import DeadLetters
from castwork.tasks.end_hooks import STEP, SUFFIX
from castwork.tasks.function import TaskFunction
from castwork.tasks.lock import Lock
from castwork.tasks.many import enqueue_many, enqueue_many_sync
from castwork.tasks.owned import OwnedTask
from castwork.tasks.passing import PASS, pass_on
from castwork.tasks.queue import Queue
from castwork.tasks.schedule import Schedule
from castwork.tasks.task import Task

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    # Loaded when used: a process that only enqueues starts without these modules.
    from castwork.worker.worker import Worker

R = TypeVar("R")
Submit = Callable[[Any, CallSettings, bytes], Awaitable[Task[Any]]]


class App(Declarations):
    """Tasks and channels on one Redis: enqueue a call for one worker, publish an event for all.

    The first call connects, or `async with app`, which also begins to run this process's channel
    handlers and to follow its settings.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `embedded://` for a server of this
            project's processes, which ends with the last of them (`embedded:///path` keeps its
            data there). The environment variable `CASTWORK_URL` takes precedence, then the file
            that `CASTWORK_URL_FILE` names.
        settings: namespace, timeouts and bounds.
        namespace: what all keys begin with, where nothing else of the settings is to be said.
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
        namespace: str | None = None,
        credentials: CredentialSource | None = None,
        env: str | None = "CASTWORK",
    ) -> None:
        if namespace is not None:
            if settings is not None:
                raise DefinitionError("namespace= beside settings=: say it in the settings")
            settings = AppSettings(namespace=namespace)
        super().__init__(url, settings=settings, credentials=credentials, env=env)
        self._plain_clients = PlainClients(self.server_url.find, credentials)
        self._inspector = Inspector(self._connections, self.settings.namespace)

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
        await self._plain_clients.close()
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
        queues: Sequence[str | Queue] | None = None,
        *,
        on_stuck: Callable[[str], None] | None = None,
        **options: Unpack[WorkerOptions],
    ) -> Worker:
        """Make a worker for this app's task functions and group handlers.

        Args:
            queues: the queues to serve, by name or as `app.queue` returned them; a slot that is
                free goes to the first of them that has tasks. All by default, in turn.
            on_stuck: called with the reason when the process should be replaced: on a thread when
                the event loop has been blocked for longer than a lease and past a task's timeout,
                or, once the worker has stopped, when plain functions that hang took all slots of a
                queue.
            options: see `WorkerSettings`.

        Raises:
            DefinitionError: a queue has no task function, or the app has none at all.
        """
        from castwork.worker.preparation import Preparation
        from castwork.worker.worker import Worker

        functions = [*self._group_functions(), *self._functions_of_twin()]
        catalog = self._catalog.with_functions(functions)
        for function in self._end_functions():
            catalog.add_following(function)
        served = catalog.serving(queues)
        names = [store.queue.name for store in served.stores]
        return Worker(
            self._connections,
            catalog,
            served,
            WorkerSettings.of(options),
            self.settings,
            around=self._around_task,
            preparation=Preparation(self._resources, self._start_hooks, names),
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

    def _end_functions(self) -> list[TaskFunction[..., Any]]:
        """The functions of the tasks that follow the ends of others."""
        made = self._step_functions()
        for function in self._catalog:
            if self.end_hooks.are_of(function.name) and not function.is_remote:
                settings = TaskSettings(
                    name=function.name + SUFFIX, attempts=10, result_ttl=60.0, keep_result=False
                )
                runner = self.end_hooks.runner(function.name)
                made.append(self._make(runner, settings, function.store))
        return made

    def _step_functions(self) -> list[TaskFunction[..., Any]]:
        """The functions of flows' own tasks, in whatever queue."""
        stores = self._catalog.stores()
        settings = TaskSettings(name=STEP + SUFFIX, attempts=10, result_ttl=60.0, keep_result=False)
        runner = self.end_hooks.step_runner(Carrier(self._catalog.store_beside).carry)
        if not stores:
            return []
        passing = TaskSettings(name=PASS, attempts=10)
        return [
            self._make(runner, settings, stores[0]),
            self._make(pass_on, passing, stores[0]),
        ]

    def _functions_of_twin(self) -> list[TaskFunction[..., Any]]:
        """What other modules declared on a second copy of this app, see `find_twin`."""
        twin = find_twin(self)
        return [
            self._make(one.function, one.settings, self._catalog.store_for(one.settings))
            for one in (twin.tasks if twin is not None else ())
            if one.name not in self._catalog
        ]

    # -- enqueueing ---------------------------------------------------------------------

    async def enqueue_many(
        self, calls: Iterable[Call[R]] | AsyncIterable[Call[R]]
    ) -> list[Task[R]]:
        """Enqueue calls of any task functions, a few thousand at a time, in few round trips.

        Args:
            calls: what `function.call(...)` and `function.options(...).call(...)` return; an
                iterable, or an async one, of any length: it is drawn as it is sent.

        Returns:
            The tasks, in order.

        Raises:
            InvalidArguments, PayloadTooLarge, QueueFull, ConnectionFailed: as
                `TaskFunction.enqueue`, where no call was accepted.
            PartlyEnqueued: some calls were accepted; the error has their tasks. Calls that were
                not drawn are not in it. Where `calls` itself raises, that is the cause.
            What `calls` raises: no call was accepted.
        """
        return await enqueue_many(calls)

    def enqueue_many_sync(self, calls: Iterable[Call[R]]) -> list[Task[R]]:
        """`enqueue_many` for callers without an event loop; raises as it, and WouldBlock."""
        return enqueue_many_sync(calls)

    @contextmanager
    def wrapping_enqueues(self, wrapper: Wrapper) -> Iterator[None]:
        """Have a wrapper called around each enqueue inside of a block, as a test does."""
        with self._around_enqueue.with_wrapper(wrapper):
            yield

    @contextmanager
    def submitting_by(self, submit: Submit) -> Iterator[None]:
        """Have calls go elsewhere than to the queues inside of a block, as a test does."""
        before, self._elsewhere.submit = self._elsewhere.submit, submit
        try:
            yield
        finally:
            self._elsewhere.submit = before

    # -- locking ------------------------------------------------------------------------

    def lock(self, name: str, *, timeout: Seconds | None = None) -> Lock:
        """A lock that one holder has at a time, for `with` and `async with`.

        Args:
            name: what is locked, as `doc:7`.
            timeout: seconds to wait for it, or a `timedelta`; then `LockTimeout`. None waits
                without a bound. It is not how long the lock lasts: that is until the block's end.
        """
        return Lock(self._connections, self.settings.namespace, name, timeout)

    # -- finding ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL as configured, `embedded://` included: nothing is started or resolved."""
        return self.server_url.configured

    @property
    def redis(self) -> AsyncRedis:
        """A redis-py client of the running event loop, on the app's server and with its login.

        It has redis-py's own defaults, and knows nothing of the app's namespace. It is made when
        it is first asked for, which starts an embedded server, and closed with the app.

        Raises:
            ModuleNotFoundError: redis-py is missing: `pip install 'castwork[redis]'`.
        """
        return self._plain_clients.on_loop()

    @property
    def redis_sync(self) -> Redis:
        """The same for code without an event loop; threads may share it."""
        return self._plain_clients.for_threads()

    @property
    def connections(self) -> Connections:
        """The connections, for the gateway's health checks."""
        return self._connections

    @property
    def tasks(self) -> Catalog:
        """The task functions, by name."""
        return self._catalog

    def get_task(self, task_id: str, *, owner: str | None = None) -> Task[Any]:
        """The handle on a task, by its id alone.

        Args:
            task_id: the task.
            owner: whose task it has to be: the handle's methods raise TaskNotFound for the task of
                another owner, and for one of nobody's. None for any task.

        Raises:
            TaskNotFound: the id names no queue of this app.
        """
        task = self._catalog.find_task(task_id)
        return task if owner is None else OwnedTask.of(task, owner)

    def served(self) -> list[QueueStore]:
        """The queues that a worker would serve, group subscriptions included."""
        return self._catalog.with_functions(self._group_functions()).stores()

    async def queues(self) -> list[QueueInfo]:
        """What waits and runs in each queue."""
        return await self._inspector.queues(self._catalog.stores())

    async def workers(self) -> list[dict[str, Any]]:
        """The live workers and what they run."""
        return await self._inspector.workers()

    async def schedules(self) -> list[Schedule]:
        """The schedules of all queues, by queue and name.

        Raises:
            ConnectionFailed: no server in time.
        """
        own = [store for store in self._catalog.stores() if store.queue.stream is None]
        return [Schedule(store, one) for store in own for one in await store.schedules.all()]

    def dead_letters(self) -> list[DeadLetters]:
        """The dead letters of each queue, group subscriptions included."""
        return [DeadLetters(store) for store in self.served()]
