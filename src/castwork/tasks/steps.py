"""Steps: makes tasks of a flow, each with what it knows of those before and behind it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.codec import encode_value
from castwork.model.errors import (
    ConnectionFailed,
    DefinitionError,
    InvalidArguments,
    TaskNotFound,
)
from castwork.model.ids import new_id, own_id
from castwork.model.step import Fan, Later, Step, Taken
from castwork.store.steps import LONGEST_WAIT_S
from castwork.tasks.call import Call
from castwork.tasks.context import attempt_here
from castwork.tasks.flow import AllOf, EachOf, Flow, Further, Rescue, Then
from castwork.tasks.function import TaskFunction
from castwork.tasks.inheriting import inherited
from castwork.tasks.passing import VALUE, passing
from castwork.tasks.plan import Plan
from castwork.tasks.run_through import run_through
from castwork.tasks.task import Task

#: Tasks that are enqueued at once.
_AT_ONCE = 1000


class _Planned(NamedTuple):
    """A task of the flow, ready to be enqueued."""

    function: TaskFunction[..., Any]
    settings: CallSettings
    encoded: bytes
    step: Step

    async def enqueue(self, on_portal: bool) -> Task[Any]:
        """Enqueue the task inside of the wrappers, which may change whose it is."""
        function, settings, attempt = self.function, self.settings, attempt_here()
        if attempt is not None:
            settings = inherited(settings, attempt)
        parent = attempt.task_id if attempt is not None else ""
        producer = function.producer.twin if on_portal else function.producer
        call, made = Call(function, self.encoded, told=settings), list[Task[Any]]()

        async def innermost() -> Task[Any]:
            own = settings.replaced(
                {
                    "owner": call.owner,
                    "tenant": call.tenant,
                    "labels": call.labels,
                    "headers": call.headers,
                }
            ).from_now(time.time())
            plan = Plan(function.name, own, parent=parent, step=self.step)
            since = time.monotonic()
            task_id, created = await producer.enqueue(plan, self.encoded)
            made.append(function.handle(task_id, created, since if created else None))
            return made[0]

        if function.around.is_empty:
            return await innermost()
        await function.around.call(call, innermost)
        if not made:
            raise DefinitionError(f"a wrapper has not enqueued step {function.name!r} of a flow")
        return made[0]


class _Place(NamedTuple):
    """Where in the flow a task stands: the end of its id, and what waits for it."""

    name: str
    next: str = ""
    number: int = 0
    of: int = 1
    goes_on: bool = False

    def step(
        self, taken: Taken | None = None, fan: Fan | None = None, rescue: Later | None = None
    ) -> Step:
        return Step(self.next, self.number, self.of, self.goes_on, taken, fan, rescue)


async def enqueue_flow(flow: Flow[Any], *, on_portal: bool = False) -> Task[Any]:
    """Enqueue a flow, what waits first; return the handle on the last step.

    Raises as `Flow.enqueue`.
    """
    plan = _FlowPlan()
    plan.add(flow, _Place(f"{plan.id}.0"))
    if any(one.function.runs_elsewhere for one in plan.first):
        return await run_through(flow)
    tasks: list[Task[Any]] = []
    for planned in (plan.waiting, plan.first):  # nothing begins before all that waits is there
        for start in range(0, len(planned), _AT_ONCE):
            some = planned[start : start + _AT_ONCE]
            made = await asyncio.gather(
                *(one.enqueue(on_portal) for one in some), return_exceptions=True
            )
            tasks += [one for one in made if not isinstance(one, BaseException)]
            for error in made:
                if isinstance(error, BaseException):
                    await _give_up(tasks)
                    raise error
    return tasks[0]


async def _give_up(tasks: list[Task[Any]]) -> None:
    """Cancel the last step of a flow that was not accepted as a whole, and so those before it."""
    with suppress(ConnectionFailed, TaskNotFound):
        if tasks:
            await tasks[0].cancel("the flow was not accepted as a whole", timeout=0)


class _FlowPlan:
    """The tasks of a flow: those that wait, the last one first, and those that begin it."""

    def __init__(self) -> None:
        self.id = new_id()
        self.waiting: list[_Planned] = []
        self.first: list[_Planned] = []

    def add(self, flow: Flow[Any], place: _Place, fan: Fan | None = None) -> str:
        """Add a flow; return the id of the task whose result is the flow's."""
        if isinstance(flow, Call):
            return self._add_first(flow, place, fan)
        if isinstance(flow, Then):
            return self._add_waiting(flow, place, fan)
        return self._add_passing(flow, place, fan)

    def _add_first(self, call: Call[Any], place: _Place, fan: Fan | None) -> str:
        settings = call.settings()
        given = settings.id or place.name
        _check(call.function, settings)
        settings = msgspec.structs.replace(settings, id=given)
        self.first.append(_Planned(call.function, settings, call.encoded, place.step(None, fan)))
        return own_id(call.function.queue.id_prefix, given)

    def _add_waiting(self, flow: Then, place: _Place, fan: Fan | None) -> str:
        function = flow.further.function
        settings = function.call_settings
        _check(function, settings)
        if settings.delay or settings.at is not None:
            raise DefinitionError(f"step {function.name!r} begins behind another, without a delay")
        given = settings.id or place.name
        own = own_id(function.queue.id_prefix, given)
        param, encoded = _bind(flow.further)
        at = len(self.waiting)
        taken = self._add_before(flow.before, own, param, place.name)
        settings = msgspec.structs.replace(settings, id=given, delay=float(LONGEST_WAIT_S))
        self.waiting.insert(at, _Planned(function, settings, encoded, place.step(taken, fan)))
        return own

    def _add_passing(self, flow: Flow[Any], place: _Place, fan: Fan | None) -> str:
        """Add the task of castwork's own that stands for what is no single step."""
        function, name, rescue = passing(flow), place.name, None
        own = own_id(function.queue.id_prefix, name)
        at = len(self.waiting)
        if isinstance(flow, Rescue):
            taken = self._add_before(flow.before, own, VALUE, name)
            rescue = _later(flow.further, f"{name}.f")
            taken.instead = rescue.id
        else:
            taken = self._add_before(flow, own, VALUE, name)
        settings = msgspec.structs.replace(
            function.call_settings, id=name, delay=float(LONGEST_WAIT_S)
        )
        step = place.step(taken, fan, rescue)
        self.waiting.insert(at, _Planned(function, settings, b"{}", step))
        return own

    def _add_before(self, before: Flow[Any], own: str, param: str, name: str) -> Taken:
        """Add what a step waits for; return what it takes of that."""
        if isinstance(before, AllOf):
            of, goes_on = len(before.members), before.goes_on
            if not of:
                raise DefinitionError("all_of has got nothing to wait for")
            ids = [
                self.add(member, _Place(f"{name}.{number}", own, number, of, goes_on))
                for number, member in enumerate(before.members)
            ]
            prefix = ids[0].removesuffix("0")
            if ids == [f"{prefix}{number}" for number in range(of)]:
                return Taken(param, prefix=prefix, count=of, is_list=True)
            return Taken(param, of=ids, is_list=True)
        if isinstance(before, EachOf):
            assert before.before is not None
            assert before.further is not None
            fan = _fan(before.further, f"{name}.", goes_on=before.goes_on)
            maker = self.add(before.before, _Place(f"{name}.each", own), fan)
            return Taken(param, prefix=fan.id, count=-1, maker=maker, is_list=True)
        return Taken(param, of=[self.add(before, _Place(f"{name}.b", own))])


def _check(function: TaskFunction[..., Any], settings: CallSettings) -> None:
    """Refuse what cannot be a step."""
    if function.queue.stream is not None:
        raise DefinitionError(f"step {function.name!r} adopts a stream: only producers write that")
    if settings.key is not None or function.settings.key_by is not None:
        raise DefinitionError(f"step {function.name!r} has a key, and might be another task then")
    if function.settings.serial_by is not None:
        raise DefinitionError(f"step {function.name!r} has serial_by: enqueue it inside of a step")


def _bind(further: Further) -> tuple[str, bytes]:
    """The name of the argument that is a result, and the further arguments as JSON."""
    function = further.function
    names = function.signature.parameters
    if not names:
        raise DefinitionError(f"step {function.name!r} takes no argument: it gets a result")
    named = dict(zip(names[1:], further.args, strict=False))
    missing = set(function.signature.required) - {names[0], *named, *further.kwargs}
    unknown = (set(further.kwargs) - set(names[1:])) | (set(named) & set(further.kwargs))
    if len(further.args) > len(names) - 1 or unknown or missing:
        raise InvalidArguments(
            f"step {function.name!r} gets a result as {names[0]!r}; further arguments:"
            f" {', '.join(names[1:]) or 'none'}"
        )
    return names[0], encode_value({**named, **further.kwargs})


def _later(further: Further, name: str) -> Later:
    """A call that becomes a task of this id once its first argument is known."""
    function, settings = further.function, further.function.call_settings
    _check(function, settings)
    if settings.id is not None or settings.delay or settings.at is not None:
        raise DefinitionError(f"step {function.name!r} is made by a flow: without id, delay and at")
    attempt = attempt_here()
    if attempt is not None:
        settings = inherited(settings, attempt)
    now = time.time()
    deadline = settings.from_now(now).deadline
    assert not isinstance(deadline, datetime)  # `from_now` has made seconds of it
    param, encoded = _bind(further)
    return Later(
        function.name,
        own_id(function.queue.id_prefix, name),
        param,
        encoded.decode(),
        settings.priority.value,
        settings.attempts or 0,
        settings.timeout or 0.0,
        0.0 if deadline is None else now + deadline,
        settings.owner,
        settings.tenant,
        dict(settings.labels),
        dict(settings.headers),
        attempt.task_id if attempt is not None else "",
    )


def _fan(further: Further, name: str, *, goes_on: bool) -> Fan:
    later = _later(further, f"{name}0")
    fields = msgspec.structs.asdict(later) | {"id": later.id[:-1]}
    return Fan(**fields, goes_on=goes_on)
