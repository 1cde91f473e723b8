"""A server process under a guard that ends it with its parent, and the lock on its data."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from castwork.embedded.hold import Pipe, Seat
from castwork.model.errors import ServerUnavailable

GRACE = 5  # seconds from SIGTERM to SIGKILL
_LOCK_WAIT = 2.0  # seconds for a server whose parent was just killed to let go of its data

# Arguments: private folder, grace, server command. Standard input is a pipe that the parent holds
# open and never writes to: its end means that the parent is stopping us, or is gone itself. A file
# then tells those who would share the server that they come too late.
# Once the server has ended, for whatever reason, the rest of this session ends too.
_GUARD = """
umask 077
trap '' HUP INT TERM PIPE
folder=$1 grace=$2; shift 2
exec 3<&0 </dev/null
( trap - HUP INT TERM PIPE; exec "$@" ) >&2 3<&- &
server=$!
( while read -r _; do :; done
  echo >"$folder/ending"
  kill -TERM "$server"; sleep "$grace"; kill -KILL "$server" ) <&3 >&2 &
echo "$server"
exec >&2
wait "$server"
rm -rf "$folder"
kill -KILL 0
"""

#: Guards of shared servers that this process started, and which others hold alive.
_left_to_others: list[subprocess.Popen[bytes]] = []


class GuardedProcess:
    """One server process with its guard and its private folder.

    The guard is a shell in a session of its own, out of reach of Ctrl-C in the terminal. The guard
    ends the server when this process ends, be it by SIGKILL; a shared server, when all processes
    that share it have ended.

    Args:
        shared: Whether other processes may take seats.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.folder = _private_folder()
        self.pid = 0
        self._owner = os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        self._hold = Seat(self.folder) if shared else Pipe()

    @property
    def is_running(self) -> bool:
        """Whether the server lives; False in a forked child, to which it does not belong."""
        return self._guard is not None and self._owner == os.getpid() and self._guard.poll() is None

    def run(self, command: list[str], log: BinaryIO, lock: int | None) -> None:
        """Starts the command, which writes to the log and keeps the lock until it ends."""
        read_end = self._hold.open()
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/bin"))
        try:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "castwork", str(self.folder), str(GRACE), *command],
                stdin=read_end,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=() if lock is None else (lock,),
                cwd="/",
                env=os.environ | {"PATH": path},
                start_new_session=True,
            )
        finally:
            os.close(read_end)
        assert self._guard.stdout is not None
        with self._guard.stdout as stdout:
            self.pid = int(stdout.readline() or 0)  # no line: the guard has failed and ended

    def end(self) -> None:
        """Ends the server and removes the private folder; does nothing in a forked child.

        A shared server that others hold goes on.
        """
        if self._owner != os.getpid():
            return
        if not self._hold.close() and self.is_running:
            assert self._guard is not None
            _left_to_others.append(self._guard)
            return
        if self._guard is not None:
            try:
                self._guard.wait(GRACE + 3)
            except subprocess.TimeoutExpired:
                if isinstance(self._hold, Seat):  # somebody has come at the last moment
                    _left_to_others.append(self._guard)
                    return
                with suppress(OSError):
                    os.killpg(self._guard.pid, signal.SIGKILL)
                self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _private_folder() -> Path:
    """Makes a folder whose path is short enough for a socket: macOS takes 103 bytes in all."""
    short = len(os.fsencode(tempfile.gettempdir())) <= 70
    return Path(tempfile.mkdtemp(prefix="castwork-", dir=None if short else "/tmp"))


def lock_folder(folder: Path) -> int:
    """Locks a data folder and returns the file descriptor that holds the lock.

    The server inherits the descriptor. So the lock outlives a parent that is killed, and a
    successor cannot open the data while the old server still writes.

    Raises:
        ServerUnavailable: Another server has the folder.
    """
    opened = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    lock = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 10)  # the guard uses the numbers below
    os.close(opened)
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise ServerUnavailable(
                    f"another embedded server is using the data in {folder}: "
                    "stop it, or choose another folder"
                ) from None
        time.sleep(0.02)


def probe(address: str | int, pid: int, password: str = "") -> bytes:
    """Asks the server at an address how it is.

    Args:
        address: The path of its Unix socket, or its TCP port on 127.0.0.1.
        pid: The process that it must be.
        password: Its password, empty for none.

    Returns:
        ``+PONG`` when it is ready and is the process `pid` and no stranger on the same port,
        ``-LOADING`` while it reads its data, else nothing.
    """
    tcp = isinstance(address, int)
    family = socket.AF_INET if tcp else socket.AF_UNIX
    with suppress(OSError, ValueError), socket.socket(family) as connection:
        connection.settimeout(1.0)
        connection.connect(("127.0.0.1", address) if tcp else str(address))
        login = f"AUTH {password}\r\n" if password else ""
        connection.sendall(f"{login}PING\r\nINFO server\r\n".encode())
        with connection.makefile("rb") as replies:
            if password:
                replies.readline()
            first = replies.readline().split()[0:1]
            if first == [b"-LOADING"]:
                return first[0]
            info = replies.read(int(replies.readline().lstrip(b"$")))
            if first == [b"+PONG"] and b"\r\nprocess_id:%d\r\n" % pid in info:
                return first[0]
    return b""
