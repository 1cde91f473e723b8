"""Many: enqueues calls of any functions, from an iterable of any length, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from castwork.model.errors import InvalidArguments, PartlyEnqueued
from castwork.redis.portal import portal
from castwork.tasks.call import Call
from castwork.tasks.producer import Producer
from castwork.tasks.task import Task

if TYPE_CHECKING:
    from castwork.tasks.function import TaskFunction

#: Calls that are drawn before they are sent: some groups for each of a few queues.
_DRAWN = 4000

#: A task function with its options, and the arguments of one call.
Encoded = tuple["TaskFunction[..., Any]", bytes]


class Outcome(NamedTuple):
    """What became of some calls.

    Attributes:
        tasks: a task each, None where the call was not accepted, as far as is known.
        error: the first error; None for none.
    """

    tasks: list[Task[Any] | None]
    error: BaseException | None


class _Drawn(NamedTuple):
    """Calls that were drawn together.

    Attributes:
        calls: the calls.
        error: what ended the drawing behind them; None for nothing.
    """

    calls: list[Encoded]
    error: Exception | None = None


async def enqueue_many(calls: Iterable[Call[Any]] | AsyncIterable[Call[Any]]) -> list[Task[Any]]:
    """Enqueue many calls; see `App.enqueue_many`."""
    outcomes: list[Outcome] = []
    async for some in _draw_async(calls) if isinstance(calls, AsyncIterable) else _draw(calls):
        outcomes.append(_unsent(some) or await enqueue_encoded(some.calls))
        if outcomes[-1].error is not None:
            break
    return tasks_of(outcomes)


def enqueue_many_sync(calls: Iterable[Call[Any]]) -> list[Task[Any]]:
    """The twin; the calls are drawn in the caller's thread."""
    outcomes: list[Outcome] = []
    for some in _drawn(calls):
        outcomes.append(_unsent(some) or _enqueue_on_portal(some.calls))
        if outcomes[-1].error is not None:
            break
    return tasks_of(outcomes)


def _unsent(some: _Drawn) -> Outcome | None:
    """The outcome of calls that are not sent, as the caller's iterable broke behind them."""
    return Outcome([None] * len(some.calls), some.error) if some.error is not None else None


async def enqueue_encoded(calls: Sequence[Encoded], *, on_portal: bool = False) -> Outcome:
    """Enqueue calls, those of one queue together."""
    functions = list({id(function): function for function, _ in calls}.values())
    if any(function.is_wrapped for function in functions):
        return await _one_by_one(calls, on_portal=on_portal)
    tasks: list[Task[Any] | None] = [None] * len(calls)
    for producer, own in _by_producer(functions).items():
        numbers: Sequence[int] = range(len(calls))
        if len(own) < len(functions):
            numbers = [n for n, (function, _) in enumerate(calls) if function in own]
        used = producer.twin if on_portal else producer
        error = await _enqueue_some(used, calls, numbers, tasks)
        if error is not None:
            return Outcome(tasks, error)
    return Outcome(tasks, None)


def _by_producer(
    functions: Sequence[TaskFunction[..., Any]],
) -> dict[Producer, set[TaskFunction[..., Any]]]:
    by_producer: dict[Producer, set[TaskFunction[..., Any]]] = {}
    for function in functions:
        by_producer.setdefault(function.producer, set()).add(function)
    return by_producer


async def _enqueue_some(
    producer: Producer,
    calls: Sequence[Encoded],
    numbers: Sequence[int],
    tasks: list[Task[Any] | None],
) -> BaseException | None:
    """Enqueue some of the calls, note their tasks, and return the first error."""
    since = time.monotonic()
    some = [calls[number] for number in numbers]
    here = {function: function.from_here() for function, _ in some}
    planned = [(here[function].plan_of(encoded), encoded) for function, encoded in some]
    accepted, error = await producer.enqueue_many(planned)
    for number, taken in zip(numbers, accepted, strict=True):
        if taken is not None:
            task_id, created = taken
            since_ = since if created else None
            tasks[number] = calls[number][0].handle(task_id, created, since_)
    return error


def tasks_of(outcomes: Sequence[Outcome]) -> list[Task[Any]]:
    """The tasks of all calls.

    Raises:
        PartlyEnqueued: some were accepted, and an error ended the rest.
        The error: none was accepted.
    """
    tasks = [task for outcome in outcomes for task in outcome.tasks]
    error = outcomes[-1].error if outcomes else None
    known = [task for task in tasks if task is not None]
    if error is None:
        return known
    if not known:
        raise error
    raise PartlyEnqueued(tasks, error) from error


def _encoded(call: Call[Any]) -> Encoded:
    if not isinstance(call, Call):
        raise InvalidArguments(
            f"{call!r:.60} is no call: give what function.call(...) returns", field="calls"
        )
    return call.function, call.encoded


def _drawn(calls: Iterable[Call[Any]]) -> Iterator[_Drawn]:
    encoded = map(_encoded, calls)
    while True:
        some: list[Encoded] = []
        try:
            some.extend(islice(encoded, _DRAWN))  # keeps what came before an error
        except Exception as error:  # of the caller's iterable
            yield _Drawn(some, error)
            return
        if not some:
            return
        yield _Drawn(some)


async def _draw(calls: Iterable[Call[Any]]) -> AsyncIterator[_Drawn]:
    for some in _drawn(calls):
        yield some


async def _draw_async(calls: AsyncIterable[Call[Any]]) -> AsyncIterator[_Drawn]:
    some: list[Encoded] = []
    drawing = aiter(calls)
    while True:
        try:
            some.append(_encoded(await anext(drawing)))
        except StopAsyncIteration:
            break
        except Exception as error:  # of the caller's iterable
            yield _Drawn(some, error)
            return
        if len(some) == _DRAWN:
            yield _Drawn(some)
            some = []
    if some:
        yield _Drawn(some)


def _enqueue_on_portal(some: Sequence[Encoded]) -> Outcome:
    return portal.run("enqueue_many", lambda: enqueue_encoded(some, on_portal=True))


async def _one_by_one(calls: Sequence[Encoded], *, on_portal: bool) -> Outcome:
    """Enqueue calls that each go through wrappers."""
    sent = [function.submit(encoded, on_portal=on_portal) for function, encoded in calls]
    answers = await asyncio.gather(*sent, return_exceptions=True)
    errors = [one for one in answers if isinstance(one, BaseException)]
    tasks = [None if isinstance(one, BaseException) else one for one in answers]
    return Outcome(tasks, errors[0] if errors else None)
