"""Gate: lets attempts of limited functions begin, or has their tasks held back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from castwork.model.errors import (
    CastworkError,
    ConnectionFailed,
    InvalidArguments,
    NotOpen,
    OutOfMemory,
    PersistenceFailed,
    ServerError,
)
from castwork.model.safe_text import printable
from castwork.store.admissions import Admissions, Answer, Asked, Ended
from castwork.tasks.limited import LimitOf, one_line
from castwork.tasks.task import Task
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.callers.subject import call_of
from castwork.worker.outcome import Bury, Drop, Held, Outcome, Park, Release, describe
from castwork.worker.workload import Workload
from castwork.worker.written import held_entry, waiting_record

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Attempts that ask in one call, at most: keeps one call short on the server.
_GROUP = 64

#: Seconds after which a task asks again whose limits the server refuses to look at.
_REFUSED = 5.0

#: What becomes of an attempt that has not passed; None stands for no answer.
_REFUSALS: dict[Answer | None, Outcome] = {
    None: Release(started=False),
    Answer.HELD: Held(),
    Answer.LOST: Drop(),
}

_Waiting = tuple[Asked, "asyncio.Future[Answer | None]"]


class _Passed(NamedTuple):
    """What an attempt that has passed gives back.

    Attributes:
        places: its places.
        in_line: whether its task leaves a line.
    """

    places: list[LimitOf]
    in_line: bool


class Gate:
    """Asks the server whether attempts may begin, and gives their places back behind them.

    Attempts that are ready together ask in one call. Functions without limits never come here.

    Args:
        workload: the attempts.
        admissions: the limits on the server.

    Attributes:
        inside: attempts that have passed, with what they give back.
        is_used: whether tasks with limits have come.
        on_use: called when the first such task comes.
        on_plan: called with the seconds until something that was held back may have room.
    """

    def __init__(self, workload: Workload, admissions: Admissions) -> None:
        self.inside: dict[Attempt, _Passed] = {}
        self.is_used = False
        self.on_use: Callable[[], None] = lambda: None
        self.on_plan: Callable[[float | None], None] = lambda _: None
        self._workload = workload
        self._admissions = admissions
        self._loop = asyncio.get_running_loop()
        self._asking: list[_Waiting] = []
        self._asker: asyncio.Task[None] | None = None
        self._leaving: list[tuple[Attempt, _Passed]] = []
        self._leaver: asyncio.Task[None] | None = None

    # -- in -----------------------------------------------------------------------------

    async def enter(self, attempt: Attempt) -> Outcome | None:
        """Wait for the server's answer; None when the attempt may begin, else its outcome."""
        assert attempt.runnable is not None
        if not self.is_used:
            self.is_used = True
            self.on_use()
        try:
            arguments = attempt.runnable.decode(attempt.args)
        except InvalidArguments:
            return None  # it ends without its code being called
        limits: Sequence[LimitOf] = ()
        line = one_line(attempt.meta.serial) if attempt.meta is not None else ""
        limited = attempt.runnable.limited
        try:
            if limited is not None:
                call = call_of(attempt, arguments)
                limits = limited.of(call)
                line = line or limited.line_of(call)
            asked = self._asked(attempt, line, limits)
            answer = await self._ask(asked)
            if answer is Answer.CLOSED:
                if attempt.ended_by:  # as by a cancel, which is not to be lost with the attempt
                    return None
                self._prepare(asked, attempt)
                answer = await self._ask(asked)
        except Exception as error:
            return self._after_error(attempt, error)
        if answer is Answer.PASSED:
            self.inside[attempt] = _Passed([one for one in limits if one.is_place], bool(line))
            return None
        if answer is Answer.HELD and attempt.ended_by is Ending.CANCEL:
            await self._cancel(attempt)
        return _REFUSALS[answer]

    def _after_error(self, attempt: Attempt, error: Exception) -> Outcome | None:
        """The outcome of an attempt that the server, or a user's function, refuses to let pass."""
        info = describe(error, attempt=attempt.number, worker_id=self._workload.worker_id)
        if not isinstance(error, ServerError):
            return Bury(info)
        if attempt.ended_by:  # as by a cancel, which is not to be lost with the attempt
            return None
        said, name = printable(info.message), self._workload.queue.name
        logger.error("queue %s: limits of task %s: %s", name, attempt.task_id, said)
        return Park(_REFUSED, info, waived=True)

    async def _cancel(self, attempt: Attempt) -> None:
        """Cancel a task once more, whose cancel came while it was being held back."""
        task: Task[bytes] = Task(attempt.task_id, self._workload.store, bytes)
        try:
            await task.cancel(attempt.cancel_reason, timeout=0)
        except CastworkError as error:
            logger.warning("the cancel of task %s is lost: %s", attempt.task_id, error)

    def _asked(self, attempt: Attempt, line: str, limits: Sequence[LimitOf]) -> Asked:
        specs = [limit.spec for limit in limits]
        if line:
            specs.insert(0, (line, "line"))
        at = attempt.entry().at
        expires = attempt.meta.expires_ms if attempt.meta is not None else 0
        return Asked(attempt, at, specs, expires_ms=at + expires if expires else 0)

    def _prepare(self, asked: Asked, attempt: Attempt) -> None:
        """Add what is needed to hold a task back."""
        queue = self._workload.queue
        asked.entry = held_entry(attempt, queue.lanes[attempt.lane])
        if queue.keeps_records:
            error = attempt.errors[-1] if attempt.errors else None
            asked.record = waiting_record(attempt, error, "", attempts=attempt.number - 1)[1]

    async def _ask(self, asked: Asked) -> Answer | None:
        """The server's answer; None when there will be none."""
        answer: asyncio.Future[Answer | None] = self._loop.create_future()
        self._asking.append((asked, answer))
        if self._asker is None:
            self._asker = self._loop.create_task(self._ask_all())
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._asking:
                group, self._asking = self._asking[:_GROUP], self._asking[_GROUP:]
                await self._ask_group(group)
        finally:
            self._asker = None

    async def _ask_group(self, group: Sequence[_Waiting]) -> None:
        """Ask for a group; where the server refuses, for either half, down to the culprits."""
        asked = [one for one, _ in group]
        answers: Sequence[Answer | None] = [None] * len(group)
        try:
            reply = await self._until_answered(partial(self._admissions.enter, asked))
        except Exception as error:  # the neighbours of what is refused must not suffer
            if len(group) > 1:
                half = len(group) // 2
                await self._ask_group(group[:half])
                await self._ask_group(group[half:])
            elif not group[0][1].done():
                group[0][1].set_exception(error)
            return
        if reply is not None:
            answers, wait = reply
            self.on_plan(wait)
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    # -- out ----------------------------------------------------------------------------

    def leave(self, attempts: Sequence[Attempt], *, for_good: bool) -> None:
        """Give back the places of attempts whose outcomes are stored, or whose leases are lost.

        Args:
            attempts: the attempts; those without limits are left out.
            for_good: whether their tasks have ended, and so leave their lines.
        """
        left: list[tuple[Attempt, _Passed]] = []
        for one in attempts:
            passed = self.inside.pop(one, None)
            if passed is not None:
                left.append((one, _Passed(passed.places, passed.in_line and for_good)))
            elif for_good and one.is_serial:  # it has ended without having begun
                left.append((one, _Passed([], in_line=True)))
        if left:
            self._leaving += left
            if self._leaver is None:
                self._leaver = self._loop.create_task(self._leave_all())

    async def _leave_all(self) -> None:
        try:
            while self._leaving:
                group, self._leaving = self._leaving[:_GROUP], self._leaving[_GROUP:]
                await self._leave_group(
                    [Ended(one, _specs(had.places), had.in_line) for one, had in group]
                )
        finally:
            self._leaver = None

    async def _leave_group(self, ended: Sequence[Ended]) -> None:
        """Give places back, as `_ask_group` asks; a look for what is gone does the rest."""
        try:
            self.on_plan(await self._until_answered(partial(self._admissions.leave, ended)))
        except Exception:
            if len(ended) == 1:
                task_id = ended[0].delivery.task_id
                logger.exception("task %s: the server refuses to take its places back", task_id)
                return
            half = len(ended) // 2
            await self._leave_group(ended[:half])
            await self._leave_group(ended[half:])

    async def drain(self) -> None:
        """Wait until all places are given back, or that was given up."""
        while pending := [task for task in (self._asker, self._leaver) if task is not None]:
            await asyncio.wait(pending)

    async def _until_answered(self, send: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Send an idempotent call until the server has answered it; None where it never will.

        Raises:
            ServerRefused: the server refuses the call.
        """
        name = self._workload.queue.name
        while True:
            try:
                return await send()
            except ConnectionFailed as error:
                logger.warning("queue %s: limits wait for the server: %s", name, error)
                await asyncio.sleep(0.2)
            except (OutOfMemory, PersistenceFailed) as error:
                logger.warning("queue %s: limits wait for the server: %s", name, error)
                await asyncio.sleep(1.0)
            except NotOpen:
                return None


def _specs(places: Sequence[LimitOf]) -> list[tuple[str, str]]:
    """What the server is told of limits now, as their amounts may have changed."""
    specs = []
    for place in places:
        spec = "a 0 0 1"
        with suppress(Exception):  # of the user's function, who is told when a task begins
            spec = place.spec[1]
        specs.append((place.name, spec))
    return specs
