"""Dead letters: look at tasks that ran out of attempts, and queue them again."""

from __future__ import annotations

from typing import Any

import msgspec

from castwork.model.codec import decode_any, encode_value
from castwork.model.entry import Entry, Meta, parse_entry, plain_fields, readable
from castwork.model.errors import CastworkError, TaskNotFound, UndecodableEntry
from castwork.model.record import Record, encode_record
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.redis.scripts import REPLAY
from castwork.tasks.queue import Queue


class DeadLetter(msgspec.Struct):
    """A task that ran out of attempts or can never run.

    Attributes:
        id: id of the dead letter.
        task_id: the task.
        queue: its queue.
        task: name of the task function, as far as it is known.
        attempts: deliveries that it took.
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


class DeadLetters:
    """The dead letters of one queue; they stay until replayed or purged."""

    def __init__(self, connections: Connections, queue: Queue) -> None:
        self._connections = connections
        self._queue = queue

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._queue.name

    async def count(self) -> int:
        """How many there are."""
        return int(await self._call("XLEN", self._queue.keys.dead))

    async def list(self, *, limit: int = 100) -> list[DeadLetter]:
        """The newest ones first."""
        reply = await self._call("XREVRANGE", self._queue.keys.dead, "+", "-", "COUNT", limit)
        return [self._letter(entry_id.decode(), _named(fields)) for entry_id, fields in reply]

    async def get(self, letter_id: str) -> DeadLetter:
        """One of them, by its id or by its task's.

        Raises:
            TaskNotFound: there is none.
        """
        entry_id, named = await self._find(letter_id)
        return self._letter(entry_id, named)

    async def replay(self, letter_id: str) -> str:
        """Queue one again with all its attempts, and return the task id.

        Raises:
            TaskNotFound: there is none (any more).
            UndecodableEntry: its bytes are not a task; mend the producer and enqueue anew.
        """
        entry_id, named = await self._find(letter_id)
        lane = named[b"lane"].decode()
        entry = self._entry(named, lane)
        attempts = int(named[b"attempts"])
        # Attempt numbers go on, so that new chunks do not collide with old ones.
        entry.meta = msgspec.structs.replace(
            entry.meta or Meta(), attempts=attempts, spared=attempts, errors=[], expires_ms=0
        )
        priority = Priority.NORMAL if lane == "stream" else Priority(lane)
        record = b""
        if self._queue.keeps_records:
            record = encode_record(Record(TaskState.QUEUED, entry.task, attempts))
        keys = self._queue.keys
        queued = await self._connections.scripts.run(
            REPLAY,
            [keys.dead, keys.lanes[priority], keys.record(entry.id), keys.entries],
            [entry_id, entry.id, priority.value, record, *entry.fields()],
        )
        if not queued:
            raise TaskNotFound(f"dead letter {letter_id} was replayed or purged meanwhile")
        return entry.id

    async def purge(self, letter_id: str) -> None:
        """Delete one and its record.

        Raises:
            TaskNotFound: there is none.
        """
        entry_id, named = await self._find(letter_id)
        if not await self._call("XDEL", self._queue.keys.dead, entry_id):
            raise TaskNotFound(f"dead letter {letter_id} was replayed or purged meanwhile")
        task_id = named[b"id"].decode()
        keys = self._queue.keys
        await self._call("DEL", keys.record(task_id), keys.output(task_id))

    async def _find(self, letter_id: str) -> tuple[str, dict[bytes, bytes]]:
        call = self._call
        if letter_id.replace("-", "", 1).isdigit():
            page = await call("XRANGE", self._queue.keys.dead, letter_id, letter_id)
            if page:
                return page[0][0].decode(), _named(page[0][1])
        start = "-"
        while page := await call("XRANGE", self._queue.keys.dead, start, "+", "COUNT", 500):
            for entry_id, fields in page:
                named = _named(fields)
                if named[b"id"] == letter_id.encode():
                    return entry_id.decode(), named
            start = f"({page[-1][0].decode()}"
        raise TaskNotFound(f"no dead letter {letter_id} in queue {self._queue.name!r}")

    async def _call(self, *command: Any) -> Any:
        if not self._connections.is_open:
            await self._connections.open()
        return await self._connections.commands.call(*command)

    def _letter(self, entry_id: str, named: dict[bytes, bytes]) -> DeadLetter:
        fields = _original(named)
        try:
            task = self._entry(named, named[b"lane"].decode()).task
        except CastworkError:
            task = ""
        return DeadLetter(
            id=entry_id,
            task_id=named[b"id"].decode(),
            queue=self._queue.name,
            task=task,
            attempts=int(named[b"attempts"]),
            errors=decode_any(named[b"errors"]),
            fields={readable(k): readable(v) for k, v in fields.items()},
        )

    def _entry(self, named: dict[bytes, bytes], lane: str) -> Entry:
        """The entry that the dead letter was; raises UndecodableEntry."""
        flat = [part for pair in _original(named).items() for part in pair]
        if lane != "stream":
            return parse_entry(flat)
        if not flat:
            raise UndecodableEntry("the entry has no fields")
        task = named.get(b"task", b"").decode()
        return Entry(task, named[b"id"].decode(), encode_value(plain_fields(flat)))


def _named(fields: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))


def _original(named: dict[bytes, bytes]) -> dict[bytes, bytes]:
    prefix = b"entry."
    return {k[len(prefix) :]: v for k, v in named.items() if k.startswith(prefix)}
