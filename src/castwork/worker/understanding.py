"""Understanding: reads what a claimed entry asks for, and judges whether it may begin."""

from __future__ import annotations

import logging
from time import monotonic
from urllib.parse import unquote

from castwork.model.codec import encode_value
from castwork.model.entry import find_id, parse_entry, plain_fields
from castwork.model.errors import UndecodableEntry, UnknownTask
from castwork.model.ids import PlaceNames, lane_suffix, producer_of
from castwork.model.safe_text import printable
from castwork.model.states import TaskState
from castwork.store.queue_store import QueueStore
from castwork.tasks.catalog import Catalog
from castwork.tasks.limited import limits_of_queue
from castwork.worker.attempt import Attempt
from castwork.worker.callers.choose import Callers
from castwork.worker.outcome import (
    Bury,
    Finish,
    Outcome,
    before_start,
    describe,
    seconds_left,
    unknown,
)
from castwork.worker.runnable import Runnable
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Unknown names that are logged, at most: foreign producers may make up any number.
_NAMES = 100


class Understanding:
    """Fills in attempts of one queue from their entries, whatever their form.

    Args:
        catalog: the task functions.
        callers: how they are called.
        unknown_grace: seconds for which tasks that are unknown here are left to other workers.

    Attributes:
        runnables: the functions without limits that entries have named so far, by their names in
            entries.
        places: names the places of entries in task ids.
        suffixes: per lane the digits that stand in a task id behind the place.
    """

    def __init__(
        self, workload: Workload, catalog: Catalog, callers: Callers, *, unknown_grace: float
    ) -> None:
        self.runnables: dict[bytes, Runnable] = {}
        self.places = PlaceNames()
        self.suffixes = [lane_suffix(lane.priority) for lane in workload.queue.lanes]
        self._workload = workload
        self._queue = workload.queue
        self._catalog = catalog
        self._callers = callers
        self._unknown_grace = unknown_grace
        self._limited: dict[bytes, Runnable] = {}
        self._of_queue = limits_of_queue(workload.queue.settings.limits)
        self._told: set[str] = set()

    def find_store(self, prefix: str) -> QueueStore:
        """The queue whose tasks' ids begin so."""
        return self._catalog.store_beside(prefix)

    def understand(self, attempt: Attempt, now_ms: int) -> Outcome | None:
        """Fill in an attempt from its entry.

        Args:
            attempt: the attempt.
            now_ms: the server's time when it was claimed, 0 if unknown.

        Returns:
            None when the attempt may begin, else its outcome: the entry cannot be decoded, its
            function is unknown, its attempts are used up, its deadline has passed, or it was
            cancelled while it waited.
        """
        try:
            if attempt.origin.is_foreign:
                self._adopt(attempt)
            else:
                self._decode(attempt)
        except UnknownTask as error:
            info = describe(error, attempt=attempt.number, worker_id=self._workload.worker_id)
            return unknown(attempt, info, now_ms, self._unknown_grace)
        except Exception as error:  # whatever an entry holds, its neighbours must not suffer
            worker_id = self._workload.worker_id
            return Bury(describe(error, attempt=attempt.number, worker_id=worker_id))
        if attempt.task_id in self._workload.unwanted:
            return Finish(TaskState.CANCELLED)
        left = seconds_left(attempt, now_ms)
        if left is not None:
            attempt.expires = attempt.deadline = monotonic() + left
        return before_start(attempt, now_ms)

    def _adopt(self, attempt: Attempt) -> None:
        """Read an entry of an adopted stream; raises UndecodableEntry."""
        prefix = self._queue.id_prefix
        attempt.task_id = f"{prefix}:{attempt.entry_id.decode()}"
        attempt.runnable = self._runnable(self._catalog.adopting(self._workload.store).wire_name)
        attempt.args = encode_value(plain_fields(attempt.fields))

    def _decode(self, attempt: Attempt) -> None:
        """Read an entry of castwork's own; raises UndecodableEntry, UnknownTask."""
        place = self.places.name(attempt.entry_id) + self.suffixes[attempt.lane]
        try:
            entry = parse_entry(attempt.fields)
        except UndecodableEntry:  # who waits for the task must hear of it, under its own id
            named, nonce = find_id(attempt.fields)
            attempt.task_id = named or f"{self._queue.id_prefix}-{place}{nonce}"
            attempt.moved = bool(named)
            attempt.producer = producer_of(attempt.task_id)
            raise
        attempt.moved = bool(entry.id)
        attempt.task_id = entry.id or f"{self._queue.id_prefix}-{place}{entry.nonce.decode()}"
        attempt.producer = producer_of(attempt.task_id)
        attempt.args = entry.args
        attempt.meta = entry.meta
        if entry.meta is not None:
            attempt.number = entry.meta.attempts + attempt.deliveries
        attempt.runnable = self._runnable(entry.task)

    def _runnable(self, wire_name: bytes) -> Runnable:
        """The function of a name with its caller, chosen once; raises UnknownTask."""
        runnable = self.runnables.get(wire_name) or self._limited.get(wire_name)
        if runnable is None:
            function = self._catalog.find(wire_name)
            if function is None:
                name = unquote(wire_name.decode(errors="replace"))
                self._tell_unknown(name)
                raise UnknownTask(f"no task function is named {name!r}")
            runnable = self._callers.runnable(function)
            if self._of_queue is not None and not self._catalog.is_following(function):
                runnable.limited = self._of_queue.beside(runnable.limited)
            known = self.runnables if runnable.limited is None else self._limited
            known[wire_name] = runnable
        return runnable

    def _tell_unknown(self, name: str) -> None:
        """Log once per name that tasks of a function come, which this worker does not have."""
        if name in self._told or len(self._told) >= _NAMES:
            return
        import difflib  # noqa: PLC0415 - few workers meet such tasks

        self._told.add(name)
        close = difflib.get_close_matches(name, [function.name for function in self._catalog], n=1)
        logger.warning(
            "queue %s: no task function is named %s here%s: its tasks are left to other workers"
            " for %g s, then they are dead",
            self._queue.name,
            printable(repr(name)),
            f" (there is {close[0]!r})" if close else "",
            self._unknown_grace,
        )
