"""Finisher: stores outcomes; outcomes that are ready together go in one call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from castwork.model.entry import Entry
from castwork.model.errors import ConnectionFailed, NotOpen, OutOfMemory, PersistenceFailed
from castwork.model.safe_text import printable
from castwork.store.outcomes import EndedTasks, Outcomes
from castwork.worker.attempt import Attempt
from castwork.worker.freeing import free_key
from castwork.worker.gate import Gate
from castwork.worker.outcome import Bury, Drop, Finish, Held, Outcome, Park, Release, describe
from castwork.worker.workload import Workload
from castwork.worker.written import (
    dead_record,
    ended_task,
    final_record,
    letter_of,
    next_entry,
    waiting_record,
)

logger = logging.getLogger(__name__)

#: Outcomes, and bytes of records, per call at most: keeps one call short on the server.
_GROUP = 128
_GROUP_BYTES = 500_000

#: What becomes of attempts whose tasks go on.
_GOES_ON = ("park", "release", "held", "lease_lost", "unstored")

#: Attempts of a task that may end uncounted with the stop of their worker. A task that goes on
#: stopping its workers uses up its attempts from then on.
_HAND_BACKS = 10


class Finisher:
    """Stores the outcomes of one queue's attempts.

    One group of ended tasks is under way at a time, and the next group gathers meanwhile. So groups
    grow with the load, and an idle worker waits for nothing. Every transition is fenced and
    idempotent, and is sent again until the server answers, however long that takes.

    Args:
        gate: told which attempts have ended.

    Attributes:
        counts: outcomes by kind: stored, `lease_lost` or `unstored`.
    """

    def __init__(self, workload: Workload, outcomes: Outcomes, gate: Gate) -> None:
        self.counts: dict[str, int] = {}
        self._workload = workload
        self._worker_id = workload.worker_id
        self._keeps_records = workload.queue.keeps_records
        self._outcomes = outcomes
        self._ready: list[tuple[Attempt, Finish]] = []
        self._committing: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._gate = gate
        self._loop = asyncio.get_running_loop()

    def take(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take an attempt's outcome, to be stored soon."""
        runnable = attempt.runnable
        is_told = (runnable is not None and runnable.hooked) or (
            attempt.meta is not None and attempt.meta.step is not None
        )
        if is_told and isinstance(outcome, Finish | Bury):
            self._keep(self._loop.create_task(self._end(attempt, outcome)))
        elif isinstance(outcome, Finish):
            self._gather(attempt, outcome)
        elif isinstance(outcome, Drop):
            self._lost(attempt)
        elif isinstance(outcome, Held):  # no outcome of the task, and so not counted
            self._workload.discard(attempt)
        else:
            self._keep(self._loop.create_task(self._store(attempt, outcome)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def drain(self) -> None:
        """Wait until every outcome taken so far is stored, lost or given up."""
        while self._committing is not None or self._others:
            waiting = set(self._others)
            if self._committing is not None:
                waiting.add(self._committing)
            await asyncio.wait(waiting)

    # -- ends, in groups ----------------------------------------------------------------

    def _gather(self, attempt: Attempt, outcome: Finish) -> None:
        """Take an end that goes out with those that are ready by then."""
        self._ready.append((attempt, outcome))
        if self._committing is None:
            self._committing = self._loop.create_task(self._commit())

    async def _commit(self) -> None:
        """Store the outcomes that are ready, group by group, until none is left."""
        try:
            while self._ready:
                group = self._next_group()
                attempts = [attempt for attempt, _ in group]
                # The records are made once: the script knows a repeated call by equal records.
                send = partial(self._finish, group, self._ended(group))
                await self._until_answered(send, attempts)
        finally:
            self._committing = None

    def _next_group(self) -> list[tuple[Attempt, Finish]]:
        """Take the outcomes that go out together, bounded by count and by bytes."""
        ready, size, count = self._ready, 0, 0
        for _, outcome in ready[:_GROUP]:
            size += len(outcome.result) if outcome.result is not None else 0
            if count and size > _GROUP_BYTES:
                break
            count += 1
        self._ready = ready[count:]
        return ready[:count]

    def _ended(self, group: Sequence[tuple[Attempt, Finish]]) -> EndedTasks:
        now, worker_id = time.time(), self._worker_id
        records: list[bytes] = []
        if self._keeps_records:
            records = [final_record(attempt, outcome, worker_id, now) for attempt, outcome in group]
        return EndedTasks(
            [attempt for attempt, _ in group],
            records,
            [attempt.result_ttl_ms for attempt, _ in group],
            [i for i, (a, _) in enumerate(group) if a.emitter is not None or a.number > 1],
            [i for i, (a, _) in enumerate(group) if a.checkpoint is not None],
        )

    async def _finish(self, group: Sequence[tuple[Attempt, Finish]], ended: EndedTasks) -> None:
        stored = await self._outcomes.finish(ended)
        counts, held = self.counts, self._workload.held
        is_limited = self._gate.is_used
        for number, (attempt, outcome) in enumerate(group):
            if stored is not None and not stored[number]:
                self._lost(attempt)
                continue
            status = outcome.status
            counts[status] = counts.get(status, 0) + 1
            # Stored, so the lease was this attempt's: no later one is held for the entry.
            held[attempt.lane].pop(attempt.entry_id, None)
            if attempt.meta is not None:
                self._free(attempt)
                is_limited = is_limited or attempt.is_serial
        if is_limited:
            ended_here = [a for i, (a, _) in enumerate(group) if stored is None or stored[i]]
            self._gate.leave(ended_here, for_good=True)
        self._workload.signal()

    def _free(self, attempt: Attempt) -> None:
        """Free the key of a task that has ended."""
        if attempt.meta is not None and attempt.meta.key_until:
            self._keep(self._loop.create_task(free_key(self._workload.store, attempt)))

    # -- ends that somebody wants to hear of --------------------------------------------

    async def _end(self, attempt: Attempt, outcome: Finish | Bury) -> None:
        """Store an end together with the task that follows it, if one does."""
        following = b""
        try:
            ended = ended_task(attempt, outcome, self._worker_id, self._workload.queue)
            following = self._workload.store.follow_up(ended.status)
        except Exception:  # any, as of arguments nested too deep: the end itself must be stored
            logger.exception("the end of task %s is told to no hook", attempt.task_id)
        if not following:
            if isinstance(outcome, Bury):
                await self._store(attempt, outcome)
            else:
                self._gather(attempt, outcome)
            return
        if isinstance(outcome, Bury):
            self._log_dead(attempt, outcome)

        async def send_and_count() -> None:
            if await self._outcomes.end(
                attempt, ended.record, ended.ttl_ms, following, ended.letter
            ):
                self._let_go(attempt, "bury" if ended.letter else ended.status.status.value)
                self._free(attempt)
            else:
                self._lost(attempt)

        await self._until_answered(send_and_count, [attempt])

    # -- the others, one by one ---------------------------------------------------------

    async def _store(self, attempt: Attempt, outcome: Park | Bury | Release) -> None:
        try:
            send, kind = self._sender(attempt, outcome), type(outcome).__name__.lower()
        except Exception as error:  # as of a delay that is not a number
            info = describe(error, attempt=attempt.number, worker_id=self._worker_id)
            send, kind = self._bury(attempt, Bury(info)), "bury"

        async def send_and_count() -> None:
            if await send():
                self._let_go(attempt, kind)
                if kind == "bury":
                    self._free(attempt)
            else:
                self._lost(attempt)

        await self._until_answered(send_and_count, [attempt])

    def _sender(
        self, attempt: Attempt, outcome: Park | Bury | Release
    ) -> Callable[[], Awaitable[bool]]:
        """The transition of an outcome, ready to be sent."""
        if isinstance(outcome, Park):
            return self._park(attempt, outcome)
        if isinstance(outcome, Bury):
            return self._bury(attempt, outcome)
        return self._release(attempt, outcome)

    def _park(self, attempt: Attempt, outcome: Park) -> Callable[[], Awaitable[bool]]:
        unknown_ms = outcome.unknown_ms
        entry = next_entry(
            attempt, outcome.error, uncounted=0, started=not unknown_ms, unknown_ms=unknown_ms
        )
        if outcome.waived:
            self._waive(attempt, entry)
        delay_ms = max(0, int(outcome.delay * 1000))
        parked, queued = b"", b""
        if self._keeps_records:
            attempts = attempt.number - 1 if unknown_ms else attempt.number
            parked, queued = waiting_record(
                attempt, outcome.error, self._worker_id, attempts=attempts
            )
        return partial(self._outcomes.park, attempt, entry, delay_ms, parked, queued)

    def _waive(self, attempt: Attempt, entry: Entry) -> None:
        """Leave an attempt uncounted; warn of a task that has been tried again for very long."""
        assert entry.meta is not None
        entry.meta.waived = attempt.waived + 1
        kept_s = attempt.result_ttl_ms / 1000
        if not entry.meta.expires_ms and time.time() - entry.at / 1000 > kept_s:
            logger.warning(
                "%s %s has asked %d times to be tried again uncounted, for more than %g s, and has"
                " no deadline",
                self._workload.queue.noun,
                attempt.task_id,
                entry.meta.waived,
                kept_s,
            )

    def _log_dead(self, attempt: Attempt, outcome: Bury) -> None:
        logger.warning(
            "%s %s is dead after %d attempt%s: %s: %s",
            self._workload.queue.noun,
            attempt.task_id,
            attempt.runs,
            "" if attempt.runs == 1 else "s",
            printable(outcome.error.type),
            printable(outcome.error.message),
        )

    def _bury(self, attempt: Attempt, outcome: Bury) -> Callable[[], Awaitable[bool]]:
        self._log_dead(attempt, outcome)
        record = b""
        if self._keeps_records:
            record = dead_record(attempt, outcome.error, self._worker_id)
        lane = self._workload.queue.lanes[attempt.lane]
        return partial(
            self._outcomes.bury, attempt, record, letter_of(attempt, outcome.error, lane)
        )

    def _release(self, attempt: Attempt, outcome: Release) -> Callable[[], Awaitable[bool]]:
        uncounted = 1 if attempt.uncounted < _HAND_BACKS else 0
        entry = next_entry(attempt, None, uncounted=uncounted, started=outcome.started)
        record = b""
        if self._keeps_records:
            attempts = attempt.number if outcome.started else attempt.number - 1
            record = waiting_record(attempt, None, "", attempts=attempts)[1]
        return partial(self._outcomes.release, attempt, entry, record)

    # -- until the server answers -------------------------------------------------------

    async def _until_answered(
        self, send: Callable[[], Awaitable[None]], attempts: Sequence[Attempt]
    ) -> None:
        """Send an idempotent transition until the server has answered it."""
        while True:
            try:
                await send()
                return
            except ConnectionFailed as error:
                logger.warning("%d outcomes wait for the server: %s", len(attempts), error)
                await asyncio.sleep(0.2)
            except NotOpen:
                break
            except (OutOfMemory, PersistenceFailed) as error:
                logger.warning(
                    "%d outcomes wait for the server to take them: %s", len(attempts), error
                )
                await asyncio.sleep(1.0)
            except (
                Exception
            ):  # any: else these attempts would be held, and their slots lost, for good
                logger.exception(
                    "the server refused the outcome of %s; the tasks come back after their lease",
                    ", ".join(attempt.task_id for attempt in attempts[:5]),
                )
                break
        for attempt in attempts:
            self._let_go(attempt, "unstored")

    def _lost(self, attempt: Attempt) -> None:
        logger.warning(
            "%s %s: attempt %d lost its lease, its outcome is dropped",
            self._workload.queue.noun,
            attempt.task_id,
            attempt.number,
        )
        self._let_go(attempt, "lease_lost")

    def _let_go(self, attempt: Attempt, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._workload.discard(attempt)
        if self._gate.is_used or attempt.is_serial:
            self._gate.leave([attempt], for_good=kind not in _GOES_ON)
