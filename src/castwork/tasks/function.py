"""TaskFunction: a decorated function that can be called here or enqueued for a worker."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack

import msgspec

from castwork.model.codec import load_foreign
from castwork.model.errors import DefinitionError
from castwork.model.settings import EnqueueOptions, TaskSettings
from castwork.model.signature import Signature
from castwork.model.states import Priority
from castwork.redis.connections import Connections
from castwork.tasks.portal import Portal
from castwork.tasks.producer import Plan, Producer
from castwork.tasks.queue import Queue
from castwork.tasks.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class Options(TypedDict, total=False):
    """What `TaskFunction.options` takes; see `EnqueueOptions` for units."""

    priority: str
    delay: float
    key: str
    key_ttl: float
    deadline: float
    attempts: int
    timeout: float


class TaskFunction(Generic[P, R]):
    """A function whose calls can be enqueued; each call is run by exactly one worker.

    Calling it runs it here, like any function. At least once: a task whose worker dies runs
    again, so side effects should be repeatable.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        settings: TaskSettings,
        queue: Queue,
        connections: Connections,
        producer: Producer,
        portal: Portal,
    ) -> None:
        self.function = function
        self.settings = settings
        self.queue = queue
        self.signature = Signature(function)
        self._connections = connections
        self._producer = producer
        self._portal = portal
        self._options = EnqueueOptions()
        self._plan = Plan(queue, settings.name, self._options)
        result_type = self.signature.result_type()
        try:
            self._decode = msgspec.json.Decoder(result_type, dec_hook=load_foreign).decode
        except TypeError as error:
            raise DefinitionError(
                f"task function {settings.name!r}: its result type {result_type} has no JSON"
                f" form: {error}"
            ) from error
        decode = self.signature.decode_text if queue.adopted else self.signature.decode
        #: Decodes a task's arguments; an adopted stream's are text.
        self.decode_arguments = decode
        #: Calls the function with decoded arguments.
        self.invoke = self.signature.caller(function)
        self.result_ttl_ms = int(settings.result_ttl * 1000)
        self.__name__ = settings.name
        self.__doc__ = function.__doc__

    @property
    def name(self) -> str:
        """Its name on the wire."""
        return self.settings.name

    def __repr__(self) -> str:
        return f"TaskFunction({self.name!r}, queue={self.queue.name!r})"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the function here and now, without Redis."""
        return self.function(*args, **kwargs)

    def options(self, **options: Unpack[Options]) -> TaskFunction[P, R]:
        """Return the same function with options for the calls made through it.

        Args:
            priority: `high`, `normal` or `low`.
            delay: seconds to wait before it is queued.
            key: idempotency key; a second enqueue with it returns the first task.
            key_ttl: seconds that the key is remembered (a day by default).
            deadline: seconds after which it is too late to start: the task then expires.
            attempts: replaces the task function's `attempts`.
            timeout: replaces the task function's `timeout`, in seconds.

        Raises:
            DefinitionError: an option has no such value.
        """
        values: dict[str, Any] = dict(options)
        if "priority" in values:
            try:
                values["priority"] = Priority(values["priority"])
            except ValueError:
                raise DefinitionError(
                    f"no priority {values['priority']!r}: use high, normal or low"
                ) from None
        try:
            chosen = msgspec.structs.replace(self._options, **values)
        except TypeError as error:
            raise DefinitionError(f"no such option: {error}") from error
        other = copy.copy(self)
        other._options = chosen
        other._plan = Plan(self.queue, self.settings.name, chosen)
        return other

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Enqueue a call; it returns when the server has it.

        Raises:
            InvalidArguments: the arguments do not fit the signature.
            PayloadTooLarge: they are over the limit.
            QueueFull: the queue is at its `max_depth`.
            ConnectionFailed: no server in time; `EffectUnknown` if the task may be there.
        """
        encoded = self.signature.encode(args, kwargs)
        return await self.enqueue_encoded(encoded)

    async def enqueue_encoded(self, arguments: bytes) -> Task[R]:
        """Enqueue a call whose arguments are JSON by name already. Raises as `enqueue`."""
        task_id = await self._producer.enqueue(self._plan, arguments)
        return Task(task_id, self.queue, self._connections, self._decode)

    async def enqueue_many(
        self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any] | Any]
    ) -> list[Task[R]]:
        """Enqueue many calls in few round trips.

        Args:
            calls: per call a tuple of its arguments, a mapping of them by name, or one
                value for a function of one argument.

        Raises:
            InvalidArguments, PayloadTooLarge, QueueFull, ConnectionFailed: as `enqueue`.
        """
        encode = self.signature.encode
        encoded = []
        for call in calls:
            if isinstance(call, tuple):
                encoded.append(encode(call, {}))
            elif isinstance(call, Mapping):
                encoded.append(encode((), dict(call)))
            else:
                encoded.append(encode((call,), {}))
        ids = await self._producer.enqueue_many(self._plan, encoded)
        queue, connections, decode = self.queue, self._connections, self._decode
        return [Task(task_id, queue, connections, decode) for task_id in ids]

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Enqueue a call from a thread, Flask, Django or a script, and return the task id.

        Raises:
            InvalidArguments, PayloadTooLarge, QueueFull, ConnectionFailed: as `enqueue`.
        """
        encoded = self.signature.encode(args, kwargs)
        return self._portal.enqueue(self._plan, encoded)

    def task(self, task_id: str) -> Task[R]:
        """The handle on a task of this function."""
        return Task(task_id, self.queue, self._connections, self._decode)
