"""Holds: what keeps a server alive, which is a pipe whose end the server's guard awaits."""

import fcntl
import os
from pathlib import Path

#: Descriptors that forked children close, so that they hold no server alive.
_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


class Pipe:
    """The hold of one process on a server of its own."""

    def __init__(self) -> None:
        self._pipe = -1

    def open(self) -> int:
        """Makes the pipe, and returns the reading end, for the guard."""
        read_end, self._pipe = os.pipe()  # close-on-exec, so that no other child inherits it
        _held.add(self._pipe)
        return read_end

    def close(self) -> bool:
        """Lets go, and tells whether the server ends by that."""
        _close(self._pipe)
        return True


class Seat:
    """The hold of one of several processes on a server that they share.

    The pipe is a named one. Beside it each process has a lock that others may have as well, and
    which all lose when they end: who can have it alone is the last.

    Args:
        folder: The private folder of the server.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe_path = folder / "members"
        self._lock_path = folder / "members.lock"
        self._ending = folder / "ending"
        self._pipe = self._lock = -1

    def open(self) -> int:
        """Makes the pipe, takes the first seat, and returns the reading end, for the guard."""
        os.mkfifo(self._pipe_path, 0o600)
        read_end = os.open(self._pipe_path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.take()
        except BaseException:
            os.close(read_end)
            raise
        os.set_blocking(read_end, True)
        return read_end

    def take(self) -> None:
        """Takes a further seat.

        Raises:
            OSError: There is no server any more.
        """
        # Nobody reads the pipe once the guard has gone: then opening it fails.
        self._pipe = os.open(self._pipe_path, os.O_WRONLY | os.O_NONBLOCK)
        _held.add(self._pipe)
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            _held.add(self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BaseException:
            self.close()
            raise

    @property
    def comes_too_late(self) -> bool:
        """Whether the guard was ending the server already when the seat was taken."""
        return self._ending.exists()

    def close(self) -> bool:
        """Leaves, and tells whether nobody else has a seat, so that the server ends."""
        was_last = False
        if self._lock in _held:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                was_last = True
            except BlockingIOError:
                pass
        _close(self._pipe)
        _close(self._lock)
        return was_last


def _close(descriptor: int) -> None:
    if descriptor in _held:
        _held.remove(descriptor)
        os.close(descriptor)
