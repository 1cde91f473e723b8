"""Runner: calls the task function that a claimed entry names, and makes an outcome of the call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from time import monotonic, time
from typing import Any

from castwork.model.ids import NONCE_DIGITS
from castwork.model.safe_text import printable
from castwork.store.claims import Batch, RawEntry
from castwork.tasks.context import set_current
from castwork.worker.announcer import Announcer
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.finisher import Finisher
from castwork.worker.freeing import free_key
from castwork.worker.gate import Gate
from castwork.worker.journal import is_kept, tell_end, tell_failure
from castwork.worker.outcome import (
    SUCCEEDED,
    Bury,
    Outcome,
    Park,
    Release,
    after_error,
    after_interruption,
    after_value,
    describe,
)
from castwork.worker.resuming import resume
from castwork.worker.taking import take
from castwork.worker.understanding import Understanding
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

_NO_CALL = (b"", b"", b"")

#: Endings that count although the code has returned: it took no notice of them.
_UNNOTICED = (Ending.CANCEL, Ending.TIMEOUT, Ending.DEADLINE)


class Runner:
    """Runs the attempts of one queue, each in one asyncio task.

    An attempt that cannot run (undecodable, unknown, out of attempts, too late) gets its outcome
    without being started, and the other attempts of its batch are not disturbed.

    Args:
        understanding: reads entries that are not first deliveries of plain tasks.
        result_limit: bytes of a result.
        announcer: armed when attempts begin.
        finisher: takes each attempt's outcome.
        gate: asked before attempts of limited functions begin.
    """

    def __init__(
        self,
        workload: Workload,
        understanding: Understanding,
        result_limit: int,
        announcer: Announcer,
        finisher: Finisher,
        gate: Gate,
    ) -> None:
        self._workload = workload
        self._worker_id = workload.worker_id
        self._understanding = understanding
        self._limit = result_limit
        self._announcer = announcer
        self._finisher = finisher
        self._gate = gate
        self._waiting = workload.waiting
        workload.fill = self._fill
        self._stopping = False
        self._tells = is_kept()
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._owner = asyncio.current_task()

    def begin(self, batch: Batch) -> int:
        """Take the entries of a batch, and run them as far as slots are free.

        Returns:
            The number of entries.
        """
        count = 0
        self._tells = is_kept()
        for lane, entries in batch.lanes:
            self._begin_lane(lane, entries, batch.now_ms)
            count += len(entries)
        self._announcer.arm()
        return count

    def _begin_lane(self, lane: int, entries: Sequence[RawEntry], now_ms: int) -> None:
        """Begin the entries of one lane.

        Most are first deliveries of plain tasks. This loop reads such entries itself, for speed;
        `start` takes all others.
        """
        workload, waiting, known = self._workload, self._waiting, self._understanding
        origin, held, capacity = workload.origins[lane], workload.held[lane], workload.slots
        runnables, suffix, name_place = known.runnables, known.suffixes[lane], known.places.name
        prefix = workload.queue.id_prefix + "-"
        now, create_task, run = self._loop.time(), self._loop.create_task, self._run
        is_plain = not (origin.is_foreign or self._stopping)
        for entry_id, fields in entries:
            attempt = Attempt(origin, entry_id, 1, fields)
            name, nonce, args = _NO_CALL
            if is_plain and len(fields) == 2 and fields[0] == b"call":
                call = fields[1].split(b" ", 2)
                name, nonce, args = call if len(call) == 3 else _NO_CALL
            runnable = runnables.get(name)
            if (
                runnable is None
                or len(nonce) != 14
                or nonce.translate(None, NONCE_DIGITS)
                or entry_id in held
                or workload.running - len(waiting) >= capacity
            ):
                self.start(attempt, now_ms)
                continue
            digits = nonce.decode()
            attempt.task_id = f"{prefix}{name_place(entry_id)}{suffix}{digits}"
            attempt.producer = digits[:6]
            attempt.args = args
            attempt.runnable = runnable
            held[entry_id] = attempt
            workload.running += 1
            attempt.launched_at = now
            # Named: asyncio would take longer to make up a name.
            attempt.runner = create_task(run(attempt), name=attempt.task_id)

    def start(self, attempt: Attempt, now_ms: int, *, alone: bool = False) -> None:
        """Take a claimed attempt of any kind, and run it at once if a slot is free.

        Args:
            attempt: the attempt.
            now_ms: the server's time when it was claimed, 0 if unknown.
            alone: whether the worker was emptied for this attempt.
        """
        workload = self._workload
        if not workload.add(attempt):
            return  # held already: the same delivery was found twice
        refusal = self._understanding.understand(attempt, now_ms)
        workload.running += 1
        if refusal is not None:
            self._end(attempt, refusal)
        elif self._stopping:
            self._end(attempt, Release(started=False))
        elif attempt.runnable is not None and attempt.runnable.gathers:
            self._launch(attempt)
        elif not alone and workload.running - len(self._waiting) > workload.slots:
            self._waiting.append(attempt)
        else:
            self._launch(attempt)

    def stop(self) -> None:
        """Start no more attempts: hand back those that wait and those that still come."""
        self._stopping = True
        self.release_waiting()

    def release_waiting(self) -> int:
        """Hand back the attempts that wait for a slot, and return their number."""
        count = len(self._waiting)
        while self._waiting:
            self._end(self._waiting.popleft(), Release(started=False))
        return count

    # -- running ------------------------------------------------------------------------

    def _launch(self, attempt: Attempt) -> None:
        attempt.launched_at = self._loop.time()
        # A copy of the worker's own context: this may be called in the context of the attempt that
        # has just ended, whose context variables the next attempt must not see.
        context = self._context.copy()
        assert attempt.runnable is not None
        is_limited = attempt.runnable.limited is not None or attempt.is_serial
        run = self._run_limited if is_limited else self._run
        if attempt.meta is not None and attempt.meta.step is not None:
            run = partial(self._run_step, run)
        attempt.runner = self._loop.create_task(run(attempt), name=attempt.task_id, context=context)
        self._announcer.arm()

    async def _run_step(
        self, run: Callable[[Attempt], Coroutine[Any, Any, None]], attempt: Attempt
    ) -> None:
        """Run a step of a flow, once it has the results of those before it."""
        assert attempt.meta is not None
        assert attempt.meta.step is not None
        try:
            if (taken := attempt.meta.step.takes) is not None:
                attempt.args = await take(attempt, taken, self._understanding.find_store)
        except BaseException as error:
            self._end(attempt, self._judge(attempt, error))
        else:
            await run(attempt)

    async def _run_limited(self, attempt: Attempt) -> None:
        """Run an attempt once it has passed the limits; one that is held back ends here."""
        try:
            outcome = await self._gate.enter(attempt)
        except BaseException as error:  # as a cancel at the end of the event loop
            outcome = self._judge(attempt, error)
        if outcome is None:
            await self._run(attempt)
        else:
            self._end(attempt, outcome)

    async def _run(self, attempt: Attempt) -> None:
        outcome: Outcome
        attempt.begun = True
        runnable = attempt.runnable
        assert runnable is not None
        try:
            if attempt.ended_by:
                outcome = self._interrupted(attempt)
            else:
                attempt.started_at = time()
                meta = attempt.meta
                timeout = meta.timeout if meta is not None and meta.timeout else runnable.timeout
                if timeout is not None:
                    # Not from `launched_at`: the loop may have been blocked between.
                    ends = monotonic() + timeout
                    attempt.deadline = min(ends, attempt.expires or ends)
                if attempt.number > 1:
                    await resume(attempt)
                if meta is not None and meta.key_until == "started":
                    await free_key(self._workload.store, attempt)
                arguments = runnable.decode(attempt.args)
                set_current(attempt)
                value = await runnable.call(attempt, arguments)
                outcome = SUCCEEDED if value is None else after_value(value, self._limit)
                if attempt.ended_by and attempt.ended_by in _UNNOTICED:
                    outcome = self._interrupted(attempt)
        except BaseException as error:
            outcome = self._judge(attempt, error)
        self._end(attempt, outcome)

    def _judge(self, attempt: Attempt, error: BaseException) -> Outcome:
        """The outcome for an exception. Raises nothing, else the attempt would never end."""
        try:
            info = describe(error, attempt=attempt.number, worker_id=self._worker_id)
            if isinstance(error, Exception):
                tell_failure(attempt, info, self._workload.queue.noun)
            elif not isinstance(error, asyncio.CancelledError):
                said = printable(f"{info.type}: {info.message}", 2000)
                noun = self._workload.queue.noun
                logger.error("%s %s raised %s", noun, attempt.task_id, said)
            if isinstance(error, asyncio.CancelledError) and self._is_ending():
                attempt.ended_by = attempt.ended_by or Ending.STOP
            outcome = after_error(attempt, error, info)
            if isinstance(error, asyncio.CancelledError):
                self._tell_interrupted(attempt, outcome)
            return outcome
        except Exception as unforeseen:  # as of a backoff that cannot be computed
            return Bury(describe(unforeseen, attempt=attempt.number, worker_id=self._worker_id))

    def _interrupted(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt that was ended, and whose code raised nothing."""
        outcome = after_interruption(attempt, self._worker_id)
        self._tell_interrupted(attempt, outcome)
        return outcome

    def _tell_interrupted(self, attempt: Attempt, outcome: Outcome) -> None:
        if isinstance(outcome, Park | Bury):
            tell_failure(attempt, outcome.error, self._workload.queue.noun)

    def _is_ending(self) -> bool:
        """Whether the worker itself is cancelled, as when its event loop ends."""
        return self._owner is not None and self._owner.cancelling() > 0

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.finished = True
        if self._tells:
            tell_end(attempt, outcome, self._workload.queue.noun)
        if attempt.emitter is not None:
            attempt.emitter.close()
        # The asyncio task's context refers to the attempt. Without the reference back there is no
        # cycle, which only the garbage collector would free.
        attempt.runner = None
        workload, thread = self._workload, attempt.thread
        if workload.lending.lenders:
            workload.lending.take_back(attempt)
        if thread is None or thread.done():
            workload.running -= 1
        else:
            self._linger(attempt, thread)
        self._finisher.take(attempt, outcome)
        workload.freed()

    def _fill(self) -> None:
        """Run attempts that wait, as far as slots are free."""
        workload = self._workload
        while self._waiting and workload.running - len(self._waiting) < workload.slots:
            self._launch(self._waiting.popleft())

    def _linger(self, attempt: Attempt, thread: Future[Any]) -> None:
        """Keep the slot of an attempt that has ended while its plain function goes on."""
        logger.warning(
            "%s %s (%s) has ended, and its function goes on: its slot stays taken until then",
            self._workload.queue.noun,
            attempt.task_id,
            attempt.task,
        )
        self._workload.lingering[attempt] = monotonic()
        loop = self._loop

        def freed(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the worker has stopped
                loop.call_soon_threadsafe(self._free, attempt)

        thread.add_done_callback(freed)

    def _free(self, attempt: Attempt) -> None:
        workload = self._workload
        del workload.lingering[attempt]
        workload.running -= 1
        workload.freed()
