"""SharedServer: one server for all processes of a project, which ends with the last of them."""

import errno
import hashlib
import os
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from castwork.embedded.hold import Seat
from castwork.embedded.note import Note, Told, open_locked
from castwork.embedded.process import GRACE, probe
from castwork.embedded.server import EmbeddedServer
from castwork.model.errors import ServerUnavailable

#: How a pipe says that there is no server any more: nobody reads it, or it is not there.
_GONE = (errno.ENXIO, errno.ENOENT)

#: What stands in the folder that a project is.
_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


def project_folder() -> Path:
    """The current folder's project: the nearest folder with a pyproject.toml, setup.py or .git.

    Without any below the home folder it is the current folder itself.

    Raises:
        ServerUnavailable: The current folder is gone.
    """
    try:
        current = Path.cwd()
    except FileNotFoundError as error:
        raise ServerUnavailable(
            "the current folder is gone, and with it the project whose server is asked for: change"
            " to a folder that exists, or name a server"
        ) from error
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    for folder in (current, *current.parents):
        if str(folder) == home:
            break
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return current


class SharedServer:
    """One server for all processes that have a folder in common.

    Who comes first starts the server, and others join it. It ends with the last of them, however
    each ends; forked children do not count until they join by themselves. Limit: processes with
    different TMPDIR do not find each other.

    Args:
        folder: What the processes have in common: a project's folder, or that of the data.
        data: As for `EmbeddedServer`.
        start_timeout: As for `EmbeddedServer`.
    """

    def __init__(
        self, folder: Path, *, data: Path | None = None, start_timeout: float = 10.0
    ) -> None:
        self._folder = folder
        self._data = "" if data is None else str(data.resolve())
        self._start_timeout = start_timeout
        self._told: Told | None = None
        self._finalizer: weakref.finalize[..., SharedServer] | None = None
        self._owner = os.getpid()

    @classmethod
    def of_url(cls, url: str, data: Path | None = None) -> Self:
        """The server that `embedded://` (the project's) or `embedded:///folder` names.

        Args:
            url: The URL.
            data: A folder for the data where the URL names none.
        """
        named = url.removeprefix("embedded://")
        if named:
            return cls(Path(named).resolve(), data=Path(named))
        return cls(project_folder(), data=data)

    # -- its life --------------------------------------------------------------------------------

    def start(self) -> str:
        """Joins the server or starts it; blocks until it answers, and returns its URL.

        Raises:
            ServerUnavailable: As `EmbeddedServer.start`; or the running server keeps its data
                elsewhere.
        """
        return self._enter(or_start=True)

    def join(self) -> str:
        """Joins the server, and returns its URL; an empty text if none runs.

        Raises:
            ServerUnavailable: As `start`.
        """
        return self._enter(or_start=False)

    def stop(self) -> None:
        """Leaves the server, which ends if nobody else is left. Does nothing in a forked child."""
        if self._finalizer is not None and self._owner == os.getpid():
            self._finalizer()
        self._told = self._finalizer = None

    @property
    def is_running(self) -> bool:
        """Whether the server that this process joined is alive."""
        told = self._told
        return told is not None and self._owner == os.getpid() and Path(told.folder).exists()

    @property
    def url(self) -> str:
        """``unix:///path``; ServerUnavailable if not started."""
        return f"unix://{quote(str(_socket_of(self._require())))}"

    @property
    def pid(self) -> int:
        """Process id of the server; ServerUnavailable if not started."""
        return self._require().pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _require(self) -> Told:
        if self._told is None:
            raise ServerUnavailable("the embedded server is not started")
        return self._told

    # -- who comes, and who goes -------------------------------------------------------------

    def _enter(self, *, or_start: bool) -> str:
        if self.is_running:
            return self.url
        self.stop()
        self._owner = os.getpid()
        path = _note_path(self._folder)
        with open_locked(path, patience=self._start_timeout + 5) as note:
            told = note.read()
            if told is not None and (seat := self._take_seat(told)) is not None:
                self._finalizer = weakref.finalize(self, _leave, seat, path, told, self._owner)
            elif or_start:
                told = self._launch(note, path)
            else:
                note.remove()
                return ""
        self._told = told
        return self.url

    def _launch(self, note: Note, path: Path) -> Told:
        server = EmbeddedServer(
            data=Path(self._data) if self._data else None,
            start_timeout=self._start_timeout,
            shared=True,
        )
        server.start()
        told = Told(str(server.folder), server.pid, self._data)
        note.write(told)
        self._finalizer = weakref.finalize(self, _leave, server, path, told, self._owner)
        return told

    def _take_seat(self, told: Told) -> Seat | None:
        """A seat at a server that runs; None if it does not."""
        seat = Seat(Path(told.folder))
        try:
            seat.take()
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise ServerUnavailable(f"cannot join the server of {self._folder}: {error}") from error
        try:
            if not self._wait(told, seat):
                seat.close()
                return None
            self._check_data(told)
        except BaseException:
            seat.close()
            raise
        return seat

    def _check_data(self, told: Told) -> None:
        """Refuse a server that does not keep its data where this process wants them."""
        if self._data not in ("", told.data):
            kept = f"keeps its data in {told.data}" if told.data else "keeps no data"
            raise ServerUnavailable(
                f"the server of {self._folder} runs already (pid {told.pid}) and {kept}: end the"
                f" processes that use it, to keep the data in {self._data}"
            )

    def _wait(self, told: Told, seat: Seat) -> bool:
        """Wait until a server answers; False if it ends.

        Somebody waits for the end of its pipe, so it lives, even if it is busy for a while: another
        server beside it would divide the project.
        """
        deadline = time.monotonic() + self._start_timeout
        while not seat.comes_too_late:
            if probe(str(_socket_of(told)), told.pid) == b"+PONG":
                return not seat.comes_too_late
            if not Path(told.folder).exists():
                return False
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"the server of {self._folder} (pid {told.pid}) lives, and has not answered"
                    f" within {self._start_timeout:g} s"
                )
            time.sleep(0.02)
        return False


def _leave(hold: EmbeddedServer | Seat, path: Path, told: Told, owner: int) -> None:
    """Leaves a server; the last to leave waits for the server's end, and removes the note."""
    if os.getpid() != owner:
        return
    folder = Path(told.folder)
    with suppress(ServerUnavailable), open_locked(path, patience=2.0) as note:
        _let_go(hold, folder)
        if not folder.exists() and note.read() in (told, None):  # and not of a server since then
            note.remove()
        return
    _let_go(hold, folder)  # somebody is starting or leaving: the note stays


def _let_go(hold: EmbeddedServer | Seat, folder: Path) -> None:
    if isinstance(hold, EmbeddedServer):
        hold.stop()
    elif hold.close():
        deadline = time.monotonic() + GRACE + 3
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.01)


def _socket_of(told: Told) -> Path:
    return Path(told.folder) / "socket"


def _note_path(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"castwork-{os.getuid()}-{digest}")
