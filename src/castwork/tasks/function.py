"""Task functions: decorated functions that can be called here or enqueued for a worker."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import msgspec

from castwork.model.call_options import CallOptions, CallSettings
from castwork.model.codec import encode_value
from castwork.model.entry import wire_name
from castwork.model.errors import DefinitionError
from castwork.model.ids import own_id
from castwork.model.json_types import make_decoder
from castwork.model.queue import Queue
from castwork.model.signature import Signature
from castwork.model.task_options import TaskSettings
from castwork.redis.portal import portal
from castwork.store.queue_store import QueueStore
from castwork.tasks.by import key_of
from castwork.tasks.call import Call
from castwork.tasks.chain import Chain
from castwork.tasks.context import attempt_here
from castwork.tasks.end_hooks import EndHook, Final, add_hook
from castwork.tasks.inheriting import inherited
from castwork.tasks.limited import limits_of_function
from castwork.tasks.many import Outcome, enqueue_encoded, tasks_of
from castwork.tasks.plan import Plan
from castwork.tasks.producer import Producer
from castwork.tasks.submission import Submission
from castwork.tasks.task import Task

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=EndHook)
C = TypeVar("C")


class TaskFunction(Generic[P, R]):
    """A function whose calls can be enqueued: each call becomes a task for one worker.

    Calling the object runs the function here, like any function. A task runs at least once: after
    its worker's death it runs again, so side effects should be repeatable.

    Attributes:
        is_remote: whether the code is elsewhere, so that workers here leave the tasks to others.
    """

    is_remote = False

    def __init__(
        self,
        function: Callable[..., Any],
        signature: Signature,
        settings: TaskSettings,
        store: QueueStore,
        submission: Submission,
    ) -> None:
        self.function = function
        self.settings = settings
        self.signature = signature
        self.store = store
        self._submission = submission
        #: Id of the task whose code makes the calls; empty for none.
        self._parent = ""
        #: The options of calls.
        self.call_settings = settings.call_settings
        self._key_by = key_of(settings.key_by, signature) if settings.key_by is not None else None
        self._plan = self._make_plan(self.call_settings)
        #: The limits of the tasks; None without any.
        adopts = store.queue.stream is not None
        self.limited = limits_of_function(settings, signature, adopts=adopts)
        #: Decodes a result.
        self.decode_result = make_decoder(
            signature.result_type() if settings.result is None else settings.result,
            f"task function {settings.name!r}, result",
        )
        #: Decodes a task's arguments; entries of an adopted stream hold them as text.
        self.decode_arguments = signature.decode_text if adopts else signature.decode
        #: Calls the function with decoded arguments.
        self.invoke = signature.caller(function)
        self.result_ttl_ms = int(settings.result_ttl * 1000)
        #: The function's name as it stands in entries.
        self.wire_name = wire_name(settings.name)
        self.__name__ = settings.name
        self.__doc__ = function.__doc__

    @property
    def name(self) -> str:
        """The function's name on the wire."""
        return self.settings.name

    @property
    def queue(self) -> Queue:
        """The queue of the function's tasks."""
        return self.store.queue

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, queue={self.queue.name!r})"

    def options(self, **options: Unpack[CallOptions]) -> Self:
        """Return the same function with options for the calls made through it.

        Args:
            queue: name of another queue of the app, for these calls.
            priority: `high`, `normal` or `low`.
            delay: seconds to wait before the task is queued.
            at: or the time at which it is, a `datetime` with a zone, by this machine's clock.
            id: an id of your own: the task id is `queue:id`, and a second enqueue with the id
                returns the first task, as long as that task's record is kept.
            key: idempotency key; a second enqueue with the key returns the first task.
            key_ttl: seconds that the key is remembered (a day by default).
            key_until: `started` or `ended` instead: the key is free again then.
            key_taken: what a second enqueue does: `match` finds the first task, and raises
                KeyConflict for other arguments; `join` finds it whatever they are; `replace` gives
                it these arguments while it waits; `debounce` begins its delay anew as well.
            deadline: seconds after which nobody wants the task, delays and retries included: no
                attempt starts any more, a running one is ended, and the task expires.
            attempts: replaces the task function's `attempts`.
            timeout: replaces the task function's `timeout`, in seconds; None for no bound.
            result_ttl: replaces the task function's `result_ttl`, in seconds.
            owner: whose task it is.
            tenant: the owner's tenant.
            labels: what is kept with the task for its function, text by text.
            headers: text by text, which travel to the task.

        Durations are seconds or a `timedelta`.

        Raises:
            DefinitionError: there is no such option, or it has no such value; it is named.
            InvalidArguments: labels or headers are too much.
        """
        other = copy.copy(self)
        other.call_settings = self.call_settings.replaced(options)
        other._plan = self._make_plan(other.call_settings)
        queue = other.call_settings.queue
        if queue is not None and queue != self.queue.name:
            if self.queue.stream is not None:
                raise DefinitionError(f"task {self.name!r} adopts a stream, and has no other queue")
            producer = self._submission.find_producer(queue)
            other._submission = msgspec.structs.replace(self._submission, producer=producer)
            other.store = producer.store
        return other

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """A call that is not enqueued yet: for `app.enqueue_many`, or to enqueue it later.

        Raises:
            InvalidArguments: the arguments do not fit the signature.
        """
        return Call(self, self.signature.encode(args, kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Enqueue a call; returns when the server has the task.

        Raises:
            InvalidArguments: the arguments do not fit the signature.
            PayloadTooLarge: the arguments are over the limit.
            QueueFull: the queue is at its `max_depth`.
            KeyConflict: the call's key is that of a task with other arguments.
            ConnectionFailed: no server in time; `EffectUnknown` if the task may be there.
        """
        return await self.enqueue_encoded(self.signature.encode(args, kwargs))

    async def enqueue_encoded(self, arguments: bytes) -> Task[R]:
        """Enqueue a call whose arguments are already encoded, as JSON by name.

        Raises as `enqueue`.
        """
        return await self.submit(arguments)

    def enqueue_encoded_sync(self, arguments: bytes) -> Task[R]:
        """`enqueue_encoded` for callers without an event loop."""
        return portal.run("enqueue", lambda: self.submit(arguments, on_portal=True))

    def from_here(self) -> Self:
        """The function as it is called here: the calls that a task makes are its children."""
        attempt = attempt_here()
        if attempt is None:
            return self
        other = copy.copy(self)
        other._parent = attempt.task_id
        other.call_settings = inherited(self.call_settings, attempt)
        other._plan = other._make_plan(other.call_settings)
        return other

    async def submit(self, arguments: bytes, *, on_portal: bool = False) -> Task[R]:
        """Enqueue a call, on the event loop of the app or of the portal."""
        producer = self._submission.producer
        if on_portal:
            producer = producer.twin
        since, function = time.monotonic(), self.from_here()
        if self.is_wrapped:
            return await function._submit_wrapped(producer, arguments)
        task_id, created = await producer.enqueue(function.plan_of(arguments), arguments)
        return self.handle(task_id, created, since if created else None)

    def beside(
        self, function: Callable[..., Any], signature: Signature, settings: TaskSettings
    ) -> TaskFunction[..., Any]:
        """A function of castwork's own, whose calls go into the queue of this one's."""
        return TaskFunction(function, signature, settings, self.store, self._submission)

    @property
    def is_hooked(self) -> bool:
        """Whether any end of its tasks is wanted."""
        return self._submission.hooks.are_of(self.name)

    @property
    def producer(self) -> Producer:
        """Enqueues the function's calls, without the wrappers around them."""
        return self._submission.producer

    @property
    def around(self) -> Chain:
        """The wrappers around each enqueue."""
        return self._submission.around

    @property
    def runs_elsewhere(self) -> bool:
        """Whether calls run at once, in tests without a server."""
        return self._submission.elsewhere.submit is not None

    @property
    def is_wrapped(self) -> bool:
        """Whether wrappers are called around each enqueue, or calls go elsewhere."""
        submission = self._submission
        return not submission.around.is_empty or submission.elsewhere.submit is not None

    async def _submit_wrapped(self, producer: Producer, arguments: bytes) -> Task[R]:
        """Enqueue inside of the wrappers, which may change whose task it is."""
        call, made, since = Call(self, arguments), [], time.monotonic()

        async def innermost() -> Task[R]:
            elsewhere = self._submission.elsewhere.submit
            if elsewhere is not None:
                made.append(await elsewhere(self, self._keyed(call), arguments))
                return made[-1]
            plan = self._fixed(self._make_plan(call.settings()), arguments)
            task_id, created = await producer.enqueue(plan, arguments)
            made.append(self.handle(task_id, created, since if created else None))
            return made[-1]

        await self._submission.around.call(call, innermost)
        if not made:
            raise DefinitionError(
                f"a wrapper around the enqueue of {self.name!r} has not called proceed(): it must"
                " raise where there shall be no task"
            )
        return made[-1]

    @property
    def fixed_plan(self) -> Plan | None:
        """How all calls are enqueued; None where it depends on the arguments or the time."""
        if self._key_by is not None or self.settings.serial_by is not None:
            return None
        return None if self._plan.names_moments else self._plan

    def plan_of(self, arguments: bytes) -> Plan:
        """How a call is enqueued now."""
        return self.fixed_plan or self._fixed(self._plan, arguments)

    def _fixed(self, plan: Plan, arguments: bytes) -> Plan:
        """A plan in which nothing depends on the arguments or on the time of the call any more."""
        if self._key_by is not None and plan.key is None:
            plan = plan.with_key(self._key_by(self._call(plan, arguments)))
        if self.limited is not None and self.settings.serial_by is not None:
            plan = plan.in_line(self.limited.line_of(self._call(plan, arguments)))
        return plan.from_now() if plan.names_moments else plan

    def _call(self, plan: Plan, arguments: bytes) -> Call[R]:
        return Call(self, arguments, told=plan.settings)

    def _keyed(self, call: Call[R]) -> CallSettings:
        """The options of a call, with the key that its arguments give it."""
        settings = call.settings()
        if self._key_by is None or settings.key is not None:
            return settings
        return msgspec.structs.replace(settings, key=self._key_by(call))

    def _make_plan(self, settings: CallSettings) -> Plan:
        return Plan(self.settings.name, settings, self._canonical, self._parent)

    def _canonical(self, arguments: bytes) -> bytes:
        """Arguments with their defaults, so that equal ones are equal."""
        return encode_value(self.signature.decode(arguments))

    async def enqueue_many(
        self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any] | Any]
    ) -> list[Task[R]]:
        """Enqueue many calls in few round trips.

        Args:
            calls: per call a tuple of its arguments, a mapping of its arguments by name, or one
                value for a function of one argument.

        Raises:
            InvalidArguments, PayloadTooLarge, QueueFull, ConnectionFailed: as `enqueue`, where no
                call was accepted.
            PartlyEnqueued: some calls were accepted; the error has their tasks.
            DefinitionError: several calls would have one id or one key.
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
        if self._plan.names_one and len(encoded) > 1:
            raise DefinitionError(
                f"{len(encoded)} calls of {self.name!r} have one id or key, so that only the first"
                " would become a task: give each call its own, with options() and enqueue()"
            )
        plan = self.from_here().fixed_plan
        if plan is None or self.is_wrapped:
            return tasks_of([await enqueue_encoded([(self, arguments) for arguments in encoded])])
        since = time.monotonic()
        accepted, error = await self.producer.enqueue_alike(plan, encoded)
        tasks = [one and self.handle(one[0], one[1], since if one[1] else None) for one in accepted]
        return tasks_of([Outcome(tasks, error)])

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Enqueue a call from a thread, Flask, Django or a script.

        Raises:
            InvalidArguments, PayloadTooLarge, QueueFull, ConnectionFailed: as `enqueue`.
            WouldBlock: inside of a coroutine task.
        """
        return self.enqueue_encoded_sync(self.signature.encode(args, kwargs))

    @overload
    def on_end(self, hook: H, /) -> H: ...
    @overload
    def on_end(self, *states: Final) -> Callable[[H], H]: ...

    def on_end(self, *given: Any) -> Any:
        """Have a function called with the final `TaskStatus` when a task of this one has ended.

        As `@infer.on_end`, or `@infer.on_end("failed", "dead")` for some ends. It is called by a
        worker of the queue, at least once, after the outcome is stored, and also when the task's
        worker was lost: let it be repeatable. The status has the arguments, too.

        Raises:
            DefinitionError: no task ends in such a state.
        """
        return add_hook(self._submission.hooks, self.name, given)

    def task(self, task_id: str = "", *, id: str = "") -> Task[R]:  # noqa: A002
        """The handle on a task of this function.

        Args:
            task_id: the task's id.
            id: or the id that the caller chose for the task.
        """
        return self.handle(task_id or own_id(self.queue.id_prefix, id))

    def handle_like(self, task: Task[Any], *, created: bool) -> Task[R]:
        """A second handle on a task, which says whether this call made it."""
        other = copy.copy(task)
        other.created = created
        return other

    def handle(self, task_id: str, created: bool = False, since: float | None = None) -> Task[R]:
        """The handle on a task of this function.

        Args:
            task_id: the task.
            created: whether this call of `enqueue` made it.
            since: monotonic time just before it was made here; None where it may not exist.
        """
        return Task(
            task_id,
            self.store,
            self.decode_result,
            created=created,
            since=since,
            is_watched=created and self.call_settings.cancel_on_disconnect,
        )
