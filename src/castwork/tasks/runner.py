"""Runner: turns a claimed entry into a call of its task function, and that into an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from castwork.model.codec import encode_value
from castwork.model.entry import Entry, parse_entry, plain_fields
from castwork.model.errors import (
    CastworkError,
    InvalidArguments,
    LeaseLost,
)
from castwork.model.record import ErrorInfo
from castwork.model.settings import Limits
from castwork.model.states import TaskState
from castwork.redis.link import Link
from castwork.tasks.attempt import CANCEL, LOST, STOP, TIMEOUT, Attempt
from castwork.tasks.execution import Execution
from castwork.tasks.outcome import (
    Bury,
    Drop,
    Finish,
    Outcome,
    Release,
    after_exception,
    after_failure,
    describe,
)
from castwork.tasks.registry import Registry
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)


class Runner:
    """Runs the attempts of one queue, each in one asyncio task.

    An attempt that cannot run (undecodable, unknown, out of attempts, too late) gets its
    outcome without being started, so that its neighbours are not disturbed.

    Args:
        threads: runs functions that are not coroutines.
        settle: takes each attempt's outcome.
        launched: called when an attempt's code begins.
    """

    def __init__(
        self,
        serving: Serving,
        registry: Registry,
        link: Link,
        limits: Limits,
        *,
        threads: ThreadPoolExecutor,
        settle: Callable[[Attempt, Outcome], None],
        launched: Callable[[], None],
    ) -> None:
        self._queue = serving.queue
        self._worker = serving.worker
        self._slots = serving.slots
        self._held = serving.held
        self._registry = registry
        self._settle = settle
        self._launched = launched
        self._waiting: deque[Attempt] = deque()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._execution = Execution(link, self._queue.keys, limits, threads, self._loop)

    def start(self, attempt: Attempt, now_ms: int) -> None:
        """Take a claimed attempt and run it, at once if a slot is free.

        Args:
            attempt: the attempt.
            now_ms: the server's time when it was claimed, 0 if unknown.
        """
        if not self._held.add(attempt):
            return  # claimed twice: the one that runs has the same token
        refusal = self._prepare(attempt, now_ms)
        self._slots.take()
        if refusal is not None:
            self._done(attempt, refusal)
        elif self._stopping:
            self._done(attempt, Release(started=False))
        elif self._slots.running - len(self._waiting) > self._slots.capacity:
            self._waiting.append(attempt)
        else:
            self._launch(attempt)

    def release_waiting(self) -> int:
        """Stop starting: hand back what has not started, and return how many that were."""
        self._stopping = True
        count = len(self._waiting)
        while self._waiting:
            self._done(self._waiting.popleft(), Release(started=False))
        return count

    def _prepare(self, attempt: Attempt, now_ms: int) -> Outcome | None:
        """Decode an attempt; return the outcome if it cannot run."""
        try:
            entry = self._decode(attempt)
        except CastworkError as error:
            return Bury(describe(error, attempt=attempt.number, worker=self._worker))
        meta = entry.meta
        if meta is None and attempt.deliveries == 1:
            return None  # the first attempt of a plain task, as most are
        if meta is not None:
            attempt.number = meta.attempts + attempt.deliveries
        if attempt.counted > attempt.allowed:
            lost = ErrorInfo(
                "WorkerLost",
                f"attempt {attempt.number - 1} ended with its worker, and no attempt is left",
                attempt=attempt.number - 1,
            )
            return Bury(lost)
        if meta is not None and meta.expires_ms and now_ms:
            queued_ms = int(attempt.entry_id.partition(b"-")[0])
            if now_ms - queued_ms > meta.expires_ms:
                late = ErrorInfo("Expired", "its deadline passed before a worker could start it")
                return Finish(TaskState.EXPIRED, error=late)
        return None

    def _decode(self, attempt: Attempt) -> Entry:
        """Find the function and read the entry.

        Raises:
            UndecodableEntry, UnknownTask: it can never run.
        """
        if attempt.lane.name == "stream":
            function = self._registry.adopting(self._queue)
            attempt.function = function
            named = plain_fields(attempt.fields)
            entry = Entry(function.name, attempt.entry_id.decode(), encode_value(named))
        else:
            entry = parse_entry(attempt.fields)
            attempt.entry = entry
            attempt.function = self._registry.get(entry.task)
        attempt.entry = entry
        return entry

    def _launch(self, attempt: Attempt) -> None:
        attempt.launched_at = self._loop.time()
        attempt.runner = self._loop.create_task(self._run(attempt))
        self._launched()

    async def _run(self, attempt: Attempt) -> None:
        outcome: Outcome
        attempt.begun = True
        try:
            if attempt.ended_by:
                outcome = self._interrupted(attempt)
            else:
                outcome = await self._execution.run(attempt)
                if attempt.ended_by in (CANCEL, TIMEOUT):  # and its code took no notice
                    outcome = self._interrupted(attempt)
        except asyncio.CancelledError:
            outcome = self._interrupted(attempt)
        except LeaseLost:
            outcome = Drop()
        except InvalidArguments as error:
            outcome = Bury(describe(error, attempt=attempt.number, worker=self._worker))
        except Exception as error:
            assert attempt.function is not None
            logger.info("task %s: attempt %d failed: %r", attempt.task_id, attempt.number, error)
            outcome = after_exception(
                error,
                attempt=attempt.number,
                worker=self._worker,
                counted=attempt.counted,
                allowed=attempt.allowed,
                backoff=attempt.function.settings.backoff,
            )
        except BaseException as error:
            # SystemExit and KeyboardInterrupt of a task must not end the worker.
            logger.exception("task %s raised %r", attempt.task_id, error)
            outcome = Bury(describe(error, attempt=attempt.number, worker=self._worker))
        self._done(attempt, outcome)

    def _interrupted(self, attempt: Attempt) -> Outcome:
        """Decide what an attempt becomes that was ended from outside."""
        assert attempt.function is not None
        if attempt.ended_by == LOST:
            return Drop()
        if attempt.ended_by == CANCEL:
            return Finish(TaskState.CANCELLED)
        if attempt.ended_by == STOP:
            return Release(started=attempt.started_at > 0)
        if attempt.ended_by == TIMEOUT:
            kind, message = "TimeoutError", "the attempt took longer than its timeout"
        else:  # nobody asked for it: something that the code awaited was cancelled
            kind, message = "CancelledError", "the code was cancelled from within"
        return after_failure(
            ErrorInfo(kind, message, attempt=attempt.number, worker=self._worker),
            counted=attempt.counted,
            allowed=attempt.allowed,
            backoff=attempt.function.settings.backoff,
        )

    def _done(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.finished = True
        attempt.runner = None  # whose context holds the attempt: a cycle would outlive both
        self._slots.done()
        self._settle(attempt, outcome)
        while self._waiting and self._slots.running - len(self._waiting) < self._slots.capacity:
            self._launch(self._waiting.popleft())
