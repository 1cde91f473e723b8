"""Batch functions: one call takes the items of several tasks, each with an outcome of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from math import isqrt
from typing import Any

import msgspec

from castwork.model.batch import Batch
from castwork.model.call_options import CallSettings
from castwork.model.errors import DefinitionError
from castwork.model.safe_text import text_of
from castwork.model.signals import Discard, Retry
from castwork.tasks.call import Call
from castwork.tasks.chain import Chain
from castwork.tasks.function import TaskFunction
from castwork.worker.attempt import Attempt
from castwork.worker.runnable import Caller

#: What a call raises for all of its items: a part of them would fare no better.
_FOR_ALL = (Retry, Discard, DefinitionError)

#: Workers that were lost with an item from which on it has calls of its own.
_SUSPECT = 2


class _Member:
    """A task whose item waits for a call, or is in one.

    Attributes:
        attempt: its attempt.
        item: the item.
        cost: what the item costs.
        common: what the items of a call have in common.
        value: done when the item's result is there.
    """

    __slots__ = ("attempt", "common", "cost", "item", "value", "_timeout")

    def __init__(self, attempt: Attempt, item: Any, batch: Batch) -> None:
        self.attempt = attempt
        self.item = item
        self.cost = float(batch.cost(item)) if batch.cost is not None else 0.0
        self.common = batch.same(item) if batch.same is not None else None
        self.value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def wait(self) -> None:
        """Wait for a call: the timeout is for that, and the task has not begun."""
        self._timeout = self.attempt.wait_to_begin()

    def begin(self) -> None:
        """Be in a call from now on."""
        self.attempt.begin_now(self._timeout)

    def differs(self, lead: _Member) -> bool:
        """Whether the items may not share a call; so do those that cannot even be compared."""
        try:
            return self.company != lead.company or bool(self.common != lead.common)
        except Exception:  # the values are a user's
            return True

    @property
    def company(self) -> int:
        """How often the item lost its worker: with fewer others each time, to find the culprit."""
        return min(self.attempt.crashes, _SUSPECT)


class Batcher:
    """Gathers the items of one function in one queue, and calls the function with them.

    A call has one slot. Items that wait for it have none, so that more can be claimed meanwhile;
    the next call takes what has come. The oldest item goes first, and those join it that fit.

    Args:
        function: the batch function.
        around: wrappers around each call.
    """

    def __init__(self, function: TaskFunction[Any, Any], around: Chain) -> None:
        assert function.settings.batch is not None
        self._function = function
        self._batch: Batch = function.settings.batch
        self._around = around
        self._waiting: deque[_Member] = deque()
        self._context = copy_context()
        self._calls: set[asyncio.Task[None]] = set()
        self._next: asyncio.Task[None] | None = None

    async def call(self, attempt: Attempt, arguments: msgspec.Struct) -> Any:
        """Run one task: wait for the call that its item is in, and return its result."""
        [item] = msgspec.structs.astuple(arguments)
        member = _Member(attempt, item, self._batch)
        member.wait()
        if attempt.crashes >= _SUSPECT:  # it has the worker for itself: it keeps its slot
            await self._run([member])
            return await member.value
        lending = attempt.origin.lending
        self._waiting.append(member)
        lending.gather(attempt)
        self._start(attempt)
        try:
            return await member.value
        finally:
            member.value.cancel()
            if member in self._waiting:
                self._leave(member)

    def _leave(self, member: _Member) -> None:
        """Take a member whose task was ended out of what waits."""
        self._waiting.remove(member)
        member.attempt.origin.lending.gathered(1)
        if not self._waiting and self._next is not None:
            self._next.cancel()

    def _start(self, attempt: Attempt) -> None:
        """See that a call is made as soon as there is a slot for it."""
        if self._next is None:
            self._next = self._loop_task(self._call_next(attempt))
            self._next.add_done_callback(self._begun)

    def _begun(self, _: asyncio.Task[None]) -> None:
        self._next = None
        if self._waiting:
            self._start(self._waiting[0].attempt)

    def _loop_task(self, step: Any) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None] = loop.create_task(step, context=self._context.copy())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _call_next(self, attempt: Attempt) -> None:
        """Take a slot, then begin a call with what waits."""
        lending = attempt.origin.lending
        await lending.slot()
        members = self._pick()
        lending.gathered(len(members))
        call = self._loop_task(self._run(members))
        lending.calls.add(call)
        call.add_done_callback(lending.calls.discard)
        call.add_done_callback(lambda _: lending.free_slot())
        call.add_done_callback(lambda done: _end_rest(done, members))
        for member in members:
            member.value.add_done_callback(lambda _: _end_unwanted(call, members))

    def _pick(self) -> list[_Member]:
        """Take the oldest item, and those behind it that fit, out of what waits."""
        picked: list[_Member] = []
        left: deque[_Member] = deque()
        total = longest = 0.0
        most = self._batch.max_size
        while self._waiting:
            one = self._waiting.popleft()
            if picked:
                lead = picked[0]
                if (
                    len(picked) >= most
                    or one.differs(lead)
                    or not self._batch.fits(
                        len(picked) + 1, total + one.cost, max(longest, one.cost)
                    )
                ):
                    left.append(one)
                    continue
            elif one.company:
                most = max(1, isqrt(most))
            picked.append(one)
            total, longest = total + one.cost, max(longest, one.cost)
        self._waiting = left
        return picked

    async def _run(self, members: Sequence[_Member]) -> None:
        """Call the function for some members, and give each its result."""
        for member in members:
            member.begin()
        await self._try(members)

    async def _try(self, members: Sequence[_Member]) -> None:
        """Call the function; where that fails, call it with either half, down to the culprits."""
        members = [member for member in members if not member.value.done()]
        if not members:
            return
        try:
            values = await self._invoke([member.item for member in members])
        except BaseException as error:
            if _is_cancelled():
                raise
            if len(members) == 1 or isinstance(error, _FOR_ALL):
                _fail(members, error)
                return
        else:
            for member, value in zip(members, values, strict=True):
                _settle(member, value)
            return
        half = len(members) // 2
        await self._try(members[:half])
        await self._try(members[half:])

    async def _invoke(self, items: list[Any]) -> list[Any]:
        """One call, inside of the wrappers; as many results as items."""
        function = self._function

        async def innermost() -> Any:
            return await function.function(items)

        if self._around.is_empty:
            values = await innermost()
        else:
            [name] = function.signature.parameters
            call = Call[Any](function, b"{}", told=CallSettings(), arguments={name: items})
            values = await self._around.call(call, innermost)
        got = type(values).__name__
        if isinstance(values, list | tuple):
            values = [*values]  # a subclass may tell another length than it has
            if len(values) == len(items):
                return values
            got = f"{len(values)}"
        raise DefinitionError(
            f"batch function {function.name!r} returned {got} for {len(items)} items: return a"
            " list with one result per item, an exception for an item that failed"
        )


def _is_cancelled() -> bool:
    """Whether the call itself is cancelled, as nobody wants its results any more."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _end_unwanted(call: asyncio.Task[None], members: Sequence[_Member]) -> None:
    """End a call of which no item's result is wanted any more."""
    if all(member.value.cancelled() for member in members):
        call.cancel()


def _end_rest(call: asyncio.Task[None], members: Sequence[_Member]) -> None:
    """Fail the members that an ended call has left without a result, as it cancelled itself.

    Else their tasks would wait, and keep their leases, for good.
    """
    error = asyncio.CancelledError() if call.cancelled() else call.exception()
    _fail(members, error or asyncio.CancelledError())


def _fail(members: Sequence[_Member], error: BaseException) -> None:
    for member in members:
        _settle(member, error)


def _settle(member: _Member, value: Any) -> None:
    """Give a member its result, or the exception that it failed with."""
    if member.value.done():  # its task was ended meanwhile
        return
    if isinstance(value, BaseException):
        member.value.set_exception(_raisable(value))
        member.value.exception()  # marked as seen
    else:
        member.value.set_result(value)


def _raisable(error: BaseException) -> BaseException:
    """An exception that a future takes: it refuses StopIteration."""
    if isinstance(error, StopIteration):
        return RuntimeError(f"StopIteration: {text_of(error)}")
    return error


def batch_caller(function: TaskFunction[Any, Any], around: Chain) -> Caller:
    """A caller that has the function called for several tasks at once."""
    return Batcher(function, around).call
