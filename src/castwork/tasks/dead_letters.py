"""Dead letters: look at tasks that ran out of attempts, and queue them again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from castwork.model.codec import encode_value
from castwork.model.entry import Entry, Meta, parse_entry, plain_fields, readable, wire_name
from castwork.model.errors import AmbiguousId, CastworkError, TaskNotFound, UndecodableEntry
from castwork.model.position import Position
from castwork.model.record import Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.store.letter import Letter
from castwork.store.queue_store import QueueStore
from castwork.tasks.dead_choice import DeadChoice, DeadGroup, count_groups, for_each


class DeadLetter(msgspec.Struct):
    """A task that ran out of attempts or can never run.

    Attributes:
        id: id of the dead letter.
        task_id: the task.
        queue: its queue.
        task: name of the task function, as far as it is known.
        attempts: runs that it took.
        errors: the last failures, newest last.
        fields: the entry as text; bytes that are not UTF-8 are escaped.
    """

    id: str
    task_id: str
    queue: str
    task: str
    attempts: int
    errors: list[Any]
    fields: dict[str, str]


#: The lanes that a letter's entry may have lain in.
_LANES = ("stream", *Priority)

#: Bytes of each value that a list shows, and letters per page.
_SHOWN, _PAGE = 1000, 500


class DeadLetters:
    """The dead letters of one queue; they stay until replayed or purged.

    Of very many the oldest are purged, see `Limits.dead_letters`.
    """

    def __init__(self, store: QueueStore) -> None:
        self._letters = store.letters
        self._told = store.told
        self._queue = store.queue

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._queue.name

    async def count(self) -> int:
        """How many dead letters there are."""
        return await self._letters.count()

    async def list(self, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        """The newest dead letters, newest first.

        A page ends early once it holds some 4 MB. Long values of entries are cut, and say so: `get`
        gives them whole.

        Args:
            limit: letters at most.
            after: the id of the letter that the page before ended with, empty to begin.

        Returns:
            A page; an empty one says that there are no more.

        Raises:
            UndecodableEntry: `after` is no id of a dead letter.
        """
        if after:
            Position.parse(after)
        found = await self._letters.newest(limit, after)
        return [self._describe(letter, most=_SHOWN) for letter in found]

    async def pages(self, limit: int | None = None) -> AsyncIterator[Sequence[DeadLetter]]:
        """The newest dead letters, page by page; those that come meanwhile stay out.

        Args:
            limit: letters at most, None for all.
        """
        after, left = "", sys.maxsize if limit is None else limit
        while left > 0 and (page := await self.list(limit=min(left, _PAGE), after=after)):
            yield page
            after, left = page[-1].id, left - len(page)

    async def find(self, letter_id: str) -> DeadLetter | None:
        """A dead letter, by its own id or its task's id; None if there is none."""
        letter = await self._letters.find(letter_id)
        return None if letter is None else self._describe(letter)

    async def get(self, letter_id: str) -> DeadLetter:
        """A dead letter, by its own id or its task's id.

        Raises:
            TaskNotFound: there is none.
        """
        return self._describe(await self._find(letter_id))

    async def replay(self, letter_id: str) -> str:
        """Queue the task of a dead letter again with all its attempts; return the task id.

        Raises:
            TaskNotFound: there is no such dead letter (any more).
            UndecodableEntry: the letter's bytes are not a task; mend the producer, enqueue anew.
        """
        letter = await self._find(letter_id)
        entry = _entry_of(letter)
        # Attempt numbers go on, so that new chunks do not collide with old ones.
        entry.meta = msgspec.structs.replace(
            entry.meta or Meta(),
            attempts=letter.attempts,
            uncounted=letter.attempts,
            waived=0,
            errors=[],
            unknown_ms=0,
            expires_ms=0,
        )
        record = b""
        if self._queue.keeps_records:
            record = encode_record(Record(TaskState.QUEUED, entry.name, letter.attempts))
        lane = Priority.NORMAL if letter.lane == "stream" else Priority(letter.lane)
        if not await self._letters.replay(letter, entry, lane, record):
            raise TaskNotFound(f"dead letter {letter_id} was replayed or purged meanwhile")
        self._told.forget(letter.task_id)
        return letter.task_id

    async def purge(self, letter_id: str) -> None:
        """Delete a dead letter, with its task's record and output.

        Raises:
            TaskNotFound: there is no such dead letter (any more).
        """
        if not await self._letters.purge(await self._find(letter_id)):
            raise TaskNotFound(f"dead letter {letter_id} was replayed or purged meanwhile")

    async def groups(self) -> Sequence[DeadGroup]:
        """How many letters there are of each function and error, the most first.

        All letters are read for it, page by page.
        """
        return await count_groups(self)

    async def replay_all(
        self,
        *,
        function: str | None = None,
        error: str | None = None,
        until: str | None = None,
        pace: float | None = None,
    ) -> int:
        """Queue dead letters again, all that are there now or some of them.

        Letters that are no task stay.

        Args:
            function: only those of the task function of this name.
            error: only those whose last error was of this type, as `TimeoutError`.
            until: id of a dead letter: only this one and older ones, as `DeadGroup.newest`.
            pace: tasks per second at most; None for no bound.

        Returns:
            How many were queued.

        Raises:
            UndecodableEntry: `until` is no id of a dead letter.
            ConnectionFailed: no server in time; those before are queued.
        """
        choice = DeadChoice(function, error, until)
        return sum([not refused async for _, refused in for_each(self, choice, self.replay, pace)])

    async def purge_all(
        self, *, function: str | None = None, error: str | None = None, until: str | None = None
    ) -> int:
        """Delete dead letters for good, all that are there now or some; see `replay_all`.

        Returns:
            How many were deleted.
        """
        choice = DeadChoice(function, error, until)
        return sum([not refused async for _, refused in for_each(self, choice, self.purge)])

    async def _find(self, letter_id: str) -> Letter:
        letter = await self._letters.find(letter_id)
        if letter is None:
            raise TaskNotFound(f"no dead letter {letter_id} in queue {self.queue!r}")
        return letter

    def _describe(self, letter: Letter, *, most: int | None = None) -> DeadLetter:
        """The letter for people, each value cut to `most` bytes; None for whole values."""
        try:
            task = _entry_of(letter).name
        except CastworkError:
            task = ""
        names, values = letter.fields[::2], letter.fields[1::2]
        return DeadLetter(
            id=letter.id,
            task_id=letter.task_id,
            queue=self.queue,
            task=task,
            attempts=letter.attempts,
            errors=letter.errors,
            fields={
                _cut(name, most): _cut(value, most)
                for name, value in zip(names[:most], values[:most], strict=False)
            },
        )


async def find_letter(queues: Sequence[DeadLetters], name: str) -> tuple[DeadLetters, DeadLetter]:
    """Find a dead letter, and the queue that has it, by its own id or its task's id.

    Ids of dead letters are unique within one queue only, ids of tasks everywhere.

    Args:
        queues: the dead letters of the queues to look in.
        name: the id.

    Raises:
        TaskNotFound: no queue has it.
        AmbiguousId: several have a dead letter of that id.
        ConnectionFailed: no server in time.
    """
    answers = await asyncio.gather(*(letters.find(name) for letters in queues))
    found = [
        (letters, letter)
        for letters, letter in zip(queues, answers, strict=True)
        if letter is not None
    ]
    if not found:
        raise TaskNotFound(f"no dead letter {name}")
    if len(found) > 1:
        names = ", ".join(sorted(letters.queue for letters, _ in found))
        raise AmbiguousId(
            f"dead letters of several queues have the id {name}: name the queue ({names}),"
            " or give the id of the task"
        )
    return found[0]


def _cut(raw: bytes, most: int | None) -> str:
    """Bytes of an entry as text, cut where they are long."""
    if most is None or len(raw) <= most:
        return readable(raw)
    return f"{readable(raw[:most])}... ({len(raw):,} bytes)"


def _entry_of(letter: Letter) -> Entry:
    """The entry under which the task waits again; raises UndecodableEntry."""
    if letter.lane not in _LANES:
        raise UndecodableEntry("the dead letter itself does not decode; purge it")
    if letter.lane != "stream":
        entry = parse_entry(letter.fields)
        entry.id = letter.task_id
        return entry
    if not letter.fields:
        raise UndecodableEntry("the entry has no fields")
    args = encode_value(plain_fields(letter.fields))
    return Entry(wire_name(letter.task), b"-", args, letter.task_id)
