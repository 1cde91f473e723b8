"""Note: a file that tells the processes of a project where their server is."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from castwork.model.errors import ServerUnavailable


class Told(NamedTuple):
    """Where a server is.

    Attributes:
        folder: Its private folder, with its socket.
        pid: Its process.
        data: The folder of its data, empty for none.
    """

    folder: str
    pid: int
    data: str


class Note:
    """The open file; nobody else reads or writes it meanwhile."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def read(self) -> Told | None:
        """What it says; None for nothing, and for what does not decode."""
        raw = os.pread(self._descriptor, 10_000, 0)
        try:
            told = Told(**json.loads(raw))
        except (ValueError, TypeError):
            return None
        return told if isinstance(told.folder, str) and isinstance(told.pid, int) else None

    def write(self, told: Told) -> None:
        """Says where the server is."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(told._asdict()).encode(), 0)

    def remove(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)


@contextmanager
def open_locked(path: Path, *, patience: float) -> Iterator[Note]:
    """Opens a note, makes it if there is none, and keeps others out.

    Args:
        path: Where it is.
        patience: Seconds to wait for others.

    Raises:
        ServerUnavailable: The file is another user's, or others keep it for too long.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = _open(path)
        try:
            _lock(path, descriptor, deadline)
            if _is_still(path, descriptor):
                yield Note(path, descriptor)
                return
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    """Opens the file, which only its owner may write; a link there may be a trap."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ServerUnavailable(f"cannot look for this project's server: {error}") from error
    if os.fstat(descriptor).st_uid == os.getuid():
        return descriptor
    os.close(descriptor)
    raise ServerUnavailable(f"cannot look for this project's server: {path} is another user's")


def _lock(path: Path, descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"another process has been starting or leaving this project's server for long:"
                    f" it has {path} locked"
                ) from None
        time.sleep(0.01)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened was not removed before it was locked."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
