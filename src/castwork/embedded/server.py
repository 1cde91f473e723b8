"""EmbeddedServer: starts, watches and ends a private server."""

import os
import secrets
import socket
import time
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from castwork.embedded.binary import server_command
from castwork.embedded.process import GuardedProcess, lock_folder, probe
from castwork.model.errors import ServerUnavailable


class EmbeddedServer:
    """A private server that ends with the process that started it.

    The server ends with `stop`, with the interpreter, with the last reference to this object, and
    when this process is killed, even by SIGKILL. Forked children neither stop the server nor keep
    it alive. Limit: a SIGKILL for its guard (a small shell process) too leaves the server behind.

    Args:
        data: Folder for an append-only file, created if missing and kept. A crash of the machine
            loses about the last second. None: nothing is kept.
        port: TCP port on 127.0.0.1, 0 for any free one. None: a Unix socket in a private folder.
        has_password: Whether a password is made for the server, which is then part of the URL. A
            port can be reached by everyone on the machine, the socket by its owner alone.
        start_timeout: Seconds without an answer after which a start has failed. A server that
            says that it is loading its data does answer, and is waited for.
        shared: Whether other processes may keep it alive, see `SharedServer`.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        port: int | None = None,
        has_password: bool = False,
        start_timeout: float = 10.0,
        shared: bool = False,
    ) -> None:
        self._data = data
        self._port = port
        self._password = secrets.token_urlsafe(24) if has_password else ""
        self._start_timeout = start_timeout
        self._shared = shared
        self._url = ""
        self._process: GuardedProcess | None = None
        self._finalizer: weakref.finalize[[], EmbeddedServer] | None = None

    def start(self) -> str:
        """Starts the server, unless it runs; blocks until it answers, and returns its URL.

        Raises:
            ServerUnavailable: There is no server program, another server has the data, or the
                server did not answer; the message then quotes its log.
        """
        if self.is_running:
            return self.url
        self.stop()
        try:
            self._launch()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError) and not isinstance(error, ServerUnavailable):
                raise ServerUnavailable(f"cannot start an embedded server: {error}") from error
            raise
        return self.url

    def stop(self) -> None:
        """Ends the server: SIGTERM, after 5 s SIGKILL. Does nothing to a server of a parent."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._finalizer = None

    @property
    def is_running(self) -> bool:
        """Whether the server that this process started is alive."""
        return self._process is not None and self._process.is_running

    @property
    def url(self) -> str:
        """``unix:///path`` or ``redis://127.0.0.1:port``; ServerUnavailable if not started.

        A password stands in it as ``redis://:password@127.0.0.1:port``.
        """
        self._require()
        return self._url

    @property
    def pid(self) -> int:
        """Process id of the server itself; ServerUnavailable if not started."""
        return self._require().pid

    @property
    def folder(self) -> Path:
        """The private folder with its socket; ServerUnavailable if not started."""
        return self._require().folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _require(self) -> GuardedProcess:
        if self._process is None:
            raise ServerUnavailable("the embedded server is not started")
        return self._process

    def _launch(self) -> None:
        self._process = process = GuardedProcess(shared=self._shared)
        self._finalizer = weakref.finalize(self, process.end)
        address: str | int = str(process.folder / "socket")
        self._url = f"unix://{quote(str(address))}"
        if self._port is not None:
            address = self._port or _free_port()
            login = f":{self._password}@" if self._password else ""
            self._url = f"redis://{login}127.0.0.1:{address}"
        with ExitStack() as stack:
            folder, lock = process.folder, None
            if self._data is not None:
                folder = self._data.absolute()
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = lock_folder(folder)
                stack.callback(os.close, lock)
                _close_to_others(folder)
            command = server_command(folder, persistent=lock is not None, address=address)
            if self._password:
                command.insert(1, str(_write_password(process.folder, self._password)))
            log = stack.enter_context(open(folder / "server.log", "a+b", opener=_private))
            log.truncate(0)
            process.run(command, log, lock)
            self._wait(process, address, log)

    def _wait(self, process: GuardedProcess, address: str | int, log: BinaryIO) -> None:
        deadline = time.monotonic() + self._start_timeout
        reason = "it ended at once"
        while process.is_running:
            answer = probe(address, process.pid, self._password)
            if answer == b"+PONG":
                return
            if answer:  # a server that is loading its data is alive
                deadline = time.monotonic() + self._start_timeout
            elif time.monotonic() > deadline:
                reason = f"no answer within {self._start_timeout:g} s"
                break
            time.sleep(0.01)
        raise ServerUnavailable(f"the embedded server did not start: {reason}\n{_tail(log)}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_password(folder: Path, password: str) -> Path:
    """Writes the password to a file of settings: everyone can read arguments of processes."""
    path = folder / "password.conf"
    with open(path, "w", opener=_private) as file:
        file.write(f"requirepass {password}\n")
    return path


def _close_to_others(folder: Path) -> None:
    """Takes from other users what an earlier server left readable in a folder of theirs, too."""
    for path in (folder / "appendonlydir", folder / "server.log"):
        if path.exists():
            path.chmod(path.stat().st_mode & 0o700)


def _tail(log: BinaryIO) -> str:
    """Reads the end of a log, which the guard may have removed from the file system by now."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
    return log.read().decode(errors="replace").rstrip()


def _free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])
