"""The entry of a task in a stream: what a producer writes and a worker reads.

An entry of castwork's own has the field `call`: the task function's name, the last fourteen digits
of the task id and the arguments as JSON, with a space between them. `id` and `at` (the server's
milliseconds when the task was enqueued) follow where the task id does not name this entry, and
`meta` where the task carries anything else. Other programs may write the fields `task`, `args` and
optionally `id` and `meta` instead. A later version of the format would replace the name `call`.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote, unquote

import msgspec

from castwork.model.errors import UndecodableEntry
from castwork.model.ids import is_nonce
from castwork.model.record import ErrorInfo, Record
from castwork.model.states import Priority
from castwork.model.step import Step

#: A number of deliveries, bounded so that it can stand in the id of a chunk.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Meta(msgspec.Struct, omit_defaults=True):
    """What a task carries beside its arguments. Absent for a plain task.

    Attributes:
        attempts: deliveries before this entry was written.
        uncounted: how many of those deliveries do not count against the task's attempts, as
            a worker was stopped in mid-run.
        waived: attempts that do not count, as they asked to be tried again uncounted.
        key: the idempotency key that the task has until `key_until`.
        key_until: `started` or `ended`; empty for a key that goes by itself.
        expires_ms: milliseconds after the task was enqueued when nobody wants it any more.
        max_attempts: replaces the task function's `attempts`.
        timeout: replaces the task function's `timeout`, in seconds.
        result_ttl_ms: replaces the task function's `result_ttl`, in milliseconds.
        errors: the last failures, newest last.
        unknown_ms: the server's milliseconds when a worker first met the task without having its
            function; 0 if none did.
        owner: the task's owner.
        tenant: the owner's tenant.
        labels: what is kept with the task for its function, text by text.
        headers: names and values that travel from the caller to the task, as a trace or a
            request's id.
        parent: id of the task whose code enqueued this one.
        step: the task's place in a flow; None outside of flows.
        serial: the line in which the task stands: of its tasks one at a time runs, in their order.
        lane: the task's own lane, where the entry waits in another as a limit has held it back.
        crashes: workers that were lost with earlier entries of the task in the same attempt.
        watched: whether the task is cancelled when nobody watches it any more.
    """

    attempts: _Count = 0
    uncounted: _Count = 0
    waived: _Count = 0
    key: str = ""
    key_until: str = ""
    expires_ms: int = 0
    max_attempts: int = 0
    timeout: float = 0.0
    result_ttl_ms: int = 0
    errors: list[ErrorInfo] = []
    unknown_ms: int = 0
    owner: str = ""
    tenant: str = ""
    labels: dict[str, str] = {}
    headers: dict[str, str] = {}
    parent: str = ""
    step: Step | None = None
    serial: str = ""
    lane: Priority | None = None
    crashes: _Count = 0
    watched: bool = False


def with_meta(record: Record, meta: Meta | None) -> Record:
    """Put into a record whose task it is, and how the attempts before the last have failed."""
    if meta is not None:
        record.step = meta.step
        record.owner, record.tenant, record.labels = meta.owner, meta.tenant, meta.labels
        record.parent, record.failures = meta.parent, meta.errors
    return record


class Entry(msgspec.Struct):
    """A task as it lies in a stream or is parked.

    Attributes:
        task: name of the task function, as it stands in entries (see `wire_name`).
        nonce: the last digits of the task id; empty where another program wrote the entry.
        args: the arguments by name, as JSON.
        id: the task id where it does not name this entry, else empty.
        at: the server's milliseconds when the task was enqueued, 0 where the entry's id tells.
        meta: what the task carries beside its call, None for a plain task.
    """

    task: bytes
    nonce: bytes
    args: bytes
    id: str = ""
    at: int = 0
    meta: Meta | None = None

    @property
    def name(self) -> str:
        """Name of the task function."""
        return unquote(self.task.decode())

    @property
    def call(self) -> bytes:
        """The field `call`: the function, the nonce and the arguments."""
        return b"%b %b %b" % (self.task, self.nonce, self.args)

    def fields(self) -> list[bytes | str]:
        """The entry as names and values for XADD, `at` left out."""
        fields: list[bytes | str] = ["call", self.call]
        if self.id:
            fields += ["id", self.id]
        if self.meta is not None:
            fields += ["meta", encode_meta(self.meta)]
        return fields


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: What stands in place of the nonce where castwork did not make the task id.
_NO_NONCE = (b"", b"-")

encode_meta = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(Meta).decode


def wire_name(task: str) -> bytes:
    """A task function's name as it stands in entries: spaces and odd letters are escaped."""
    return quote(task, safe="!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()


def parse_entry(fields: list[bytes]) -> Entry:
    """Read an entry's fields.

    Raises:
        UndecodableEntry: a field is missing or is not what it should be.
    """
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    try:
        call, meta = named.get(b"call"), named.get(b"meta")
        if call is not None:
            task, nonce, args = call.split(b" ", 2)
            task.decode("ascii")
            if nonce not in _NO_NONCE and not is_nonce(nonce):
                raise UndecodableEntry(f"no digits of a task id: {nonce[:50]!r}")
        else:
            task = wire_name(named[b"task"].decode())
            nonce, args = b"", named.get(b"args", b"{}")
        return Entry(
            task,
            nonce,
            args,
            _line(named.get(b"id", b"")),
            _milliseconds(named.get(b"at", b"0")),
            _decode_meta(meta) if meta else None,
        )
    except KeyError as error:
        raise UndecodableEntry(f"the entry has no field {error.args[0].decode()!r}") from error
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UndecodableEntry(f"the entry's fields do not decode: {error}") from error


def has_nonce(fields: list[bytes], nonce: str) -> bool:
    """Whether an entry is of the task whose id has the nonce, not only where a guessed id says.

    The digits behind the place are drawn at random, and stand in the entry too.
    """
    call = fields[1].split(b" ", 2) if fields[0] == b"call" else ()
    return len(call) > 1 and call[1] == nonce.encode()


def find_id(fields: list[bytes]) -> tuple[str, str]:
    """What an entry that does not decode still says of its task's id.

    Returns:
        The field `id`, and the nonce; each is empty where it is not there or is none.
    """
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    try:
        task_id = _line(named.get(b"id", b""))
    except (UndecodableEntry, ValueError):
        task_id = ""
    nonce = named.get(b"call", b"").split(b" ", 2)[1:2]
    return task_id, nonce[0].decode() if nonce and is_nonce(nonce[0]) else ""


def _line(raw: bytes) -> str:
    """A task id, without control characters: it is shown, logged, and told in lines."""
    text = raw.decode()
    if _CONTROL.search(text):
        raise UndecodableEntry(f"no task id: {raw[:50]!r}")
    return text


def _milliseconds(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise UndecodableEntry(f"no milliseconds: {raw[:50]!r}")
    return int(raw)


def plain_fields(fields: list[bytes]) -> dict[str, str]:
    """The fields of a foreign entry as text, for a function that adopts its stream.

    Raises:
        UndecodableEntry: a field is not UTF-8.
    """
    try:
        text = [field.decode() for field in fields]
    except UnicodeDecodeError as error:
        raise UndecodableEntry(f"the entry's fields are not UTF-8: {error}") from error
    return dict(zip(text[::2], text[1::2], strict=True))


def readable(raw: bytes) -> str:
    """Bytes as text for a dead letter that did not decode; what is not UTF-8 is escaped."""
    return raw.decode("utf-8", "backslashreplace")
