"""Runner: turns a claimed entry into a call of its task function, and that into an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from time import time

from castwork.model.codec import encode_value
from castwork.model.entry import parse_entry, plain_fields
from castwork.model.errors import UnknownTask
from castwork.model.ids import PlaceNames, is_nonce, lane_suffix, producer_of
from castwork.store.claims import Batch, RawEntry
from castwork.tasks.catalog import Catalog
from castwork.tasks.context import set_current
from castwork.worker.announcer import Announcer
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.callers.choose import Callers
from castwork.worker.finisher import Finisher
from castwork.worker.outcome import (
    SUCCEEDED,
    Bury,
    Outcome,
    Release,
    after_error,
    after_interruption,
    after_value,
    before_start,
    describe,
)
from castwork.worker.runnable import Runnable
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

_NO_CALL = [b""]

#: Endings that count although the code has returned: it took no notice of them.
_UNNOTICED = (Ending.CANCEL, Ending.TIMEOUT)


class Runner:
    """Runs the attempts of one queue, each in one asyncio task.

    An attempt that cannot run (undecodable, unknown, out of attempts, too late) gets its
    outcome without being started, so that its neighbours are not disturbed.

    Args:
        catalog: the task functions.
        callers: how they are called.
        result_limit: bytes of a result.
        announcer: is told that code begins.
        finisher: takes each attempt's outcome.
    """

    def __init__(
        self,
        workload: Workload,
        catalog: Catalog,
        callers: Callers,
        result_limit: int,
        announcer: Announcer,
        finisher: Finisher,
    ) -> None:
        self._workload = workload
        self._queue = workload.queue
        self._worker_id = workload.worker_id
        self._catalog = catalog
        self._callers = callers
        self._limit = result_limit
        self._announcer = announcer
        self._finisher = finisher
        self._runnables: dict[bytes, Runnable] = {}
        self._waiting: deque[Attempt] = deque()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._places = PlaceNames()
        #: Per lane what stands in a task id behind the entry's.
        self._suffixes = [lane_suffix(lane.priority) for lane in self._queue.lanes]

    def begin(self, batch: Batch) -> int:
        """Take what a read brought and run it, as far as slots are free; return how many."""
        count = 0
        for lane, entries in batch.lanes:
            self._begin_lane(lane, entries, batch.now_ms)
            count += len(entries)
        self._announcer.arm()
        return count

    def _begin_lane(self, lane: int, entries: Sequence[RawEntry], now_ms: int) -> None:
        """Begin the entries of one lane.

        Most are first deliveries of plain tasks, which are understood right here, in one loop.
        """
        workload, runnables, waiting = self._workload, self._runnables, self._waiting
        origin, held, capacity = workload.origins[lane], workload.held[lane], workload.capacity
        prefix, suffix, place = self._queue.id_prefix + "-", self._suffixes[lane], self._places.name
        now, create_task = self._loop.time(), self._loop.create_task
        for entry_id, fields in entries:
            attempt = Attempt(origin, entry_id, 1, fields)
            call = fields[1].split(b" ", 2) if len(fields) == 2 else _NO_CALL
            runnable = runnables.get(call[0])
            if (
                runnable is None
                or len(call) != 3
                or not is_nonce(call[1])
                or fields[0] != b"call"
                or origin.is_foreign
                or entry_id in held
                or self._stopping
                or workload.running - len(waiting) >= capacity
            ):
                self.start(attempt, now_ms)
                continue
            nonce = call[1].decode()
            attempt.task_id = f"{prefix}{place(entry_id)}{suffix}{nonce}"
            attempt.producer = nonce[:6]
            attempt.args = call[2]
            attempt.runnable = runnable
            held[entry_id] = attempt
            workload.running += 1
            attempt.launched_at = now
            attempt.runner = create_task(self._run(attempt))

    def start(self, attempt: Attempt, now_ms: int) -> None:
        """Take a claimed attempt of any kind and run it, at once if a slot is free.

        Args:
            attempt: the attempt.
            now_ms: the server's time when it was claimed, 0 if unknown.
        """
        workload = self._workload
        if not workload.add(attempt):
            return  # claimed twice: the attempt that runs has the same token
        refusal = self._understand(attempt, now_ms)
        workload.running += 1
        if refusal is not None:
            self._end(attempt, refusal)
        elif self._stopping:
            self._end(attempt, Release(started=False))
        elif workload.running - len(self._waiting) > workload.capacity:
            self._waiting.append(attempt)
        else:
            self._launch(attempt)

    def stop(self) -> None:
        """Stop starting: hand back what has not started, and whatever comes."""
        self._stopping = True
        self.release_waiting()

    def release_waiting(self) -> int:
        """Hand back what has not started, and return how many that were."""
        count = len(self._waiting)
        while self._waiting:
            self._end(self._waiting.popleft(), Release(started=False))
        return count

    # -- understanding ------------------------------------------------------------------

    def _understand(self, attempt: Attempt, now_ms: int) -> Outcome | None:
        """Decode an attempt; return the outcome if it cannot run."""
        try:
            if attempt.origin.is_foreign:
                self._adopt(attempt)
            else:
                self._decode(attempt)
        except Exception as error:  # whatever an entry holds, its neighbours must not suffer
            return Bury(describe(error, attempt=attempt.number, worker_id=self._worker_id))
        return before_start(attempt, now_ms)

    def _adopt(self, attempt: Attempt) -> None:
        """Read an entry of an adopted stream; raises UndecodableEntry."""
        queue = self._queue
        attempt.task_id = f"{queue.stream}:{queue.group}:{attempt.entry_id.decode()}"
        attempt.runnable = self._runnable(self._catalog.adopting(self._workload.store).wire_name)
        attempt.args = encode_value(plain_fields(attempt.fields))

    def _decode(self, attempt: Attempt) -> None:
        """Read an entry of castwork's own; raises UndecodableEntry, UnknownTask."""
        place = self._places.name(attempt.entry_id) + self._suffixes[attempt.lane]
        attempt.task_id = f"{self._queue.id_prefix}-{place}"  # until the entry says more
        entry = parse_entry(attempt.fields)
        attempt.moved = bool(entry.id)
        attempt.task_id = entry.id or attempt.task_id + entry.nonce.decode()
        attempt.producer = producer_of(attempt.task_id)
        attempt.args = entry.args
        attempt.meta = entry.meta
        if entry.meta is not None:
            attempt.number = entry.meta.attempts + attempt.deliveries
        attempt.runnable = self._runnable(entry.task)

    def _runnable(self, wire_name: bytes) -> Runnable:
        """The function of a name with its caller, chosen once; raises UnknownTask."""
        runnable = self._runnables.get(wire_name)
        if runnable is None:
            function = self._catalog.find(wire_name)
            if function is None:
                raise UnknownTask(
                    f"no task function is named {wire_name.decode(errors='replace')!r}"
                )
            runnable = self._runnables[wire_name] = self._callers.runnable(function)
        return runnable

    # -- running ------------------------------------------------------------------------

    def _launch(self, attempt: Attempt) -> None:
        attempt.launched_at = self._loop.time()
        # The attempt before may have ended just now, and what it set is none of this one's.
        context = self._context.copy()
        attempt.runner = self._loop.create_task(self._run(attempt), context=context)
        self._announcer.arm()

    async def _run(self, attempt: Attempt) -> None:
        outcome: Outcome
        attempt.begun = True
        runnable = attempt.runnable
        assert runnable is not None
        try:
            if attempt.ended_by:
                outcome = after_interruption(attempt, self._worker_id)
            else:
                attempt.started_at = time()
                meta = attempt.meta
                timeout = meta.timeout if meta is not None and meta.timeout else runnable.timeout
                if timeout is not None:
                    attempt.deadline = attempt.launched_at + timeout
                arguments = runnable.decode(attempt.args)
                set_current(attempt)
                value = await runnable.call(attempt, arguments)
                outcome = SUCCEEDED if value is None else after_value(value, self._limit)
                if attempt.ended_by and attempt.ended_by in _UNNOTICED:
                    outcome = after_interruption(attempt, self._worker_id)
        except BaseException as error:
            outcome = self._judge(attempt, error)
        self._end(attempt, outcome)

    def _judge(self, attempt: Attempt, error: BaseException) -> Outcome:
        """Decide what an exception means. Never raises, else the attempt would never end."""
        try:
            info = describe(error, attempt=attempt.number, worker_id=self._worker_id)
            if isinstance(error, Exception):
                said = f"{info.type}: {info.message}"
                logger.info("task %s: attempt %d failed: %s", attempt.task_id, attempt.number, said)
            elif not isinstance(error, asyncio.CancelledError):
                logger.error("task %s raised %s", attempt.task_id, info.type, exc_info=error)
            return after_error(attempt, error, info)
        except Exception as unforeseen:  # an odd backoff, say
            return Bury(describe(unforeseen, attempt=attempt.number, worker_id=self._worker_id))

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.finished = True
        attempt.runner = None  # its context holds the attempt: a cycle would outlive both
        workload = self._workload
        workload.running -= 1
        workload.signal()
        self._finisher.take(attempt, outcome)
        while self._waiting and workload.running - len(self._waiting) < workload.capacity:
            self._launch(self._waiting.popleft())
