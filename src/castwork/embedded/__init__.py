"""A private Valkey or Redis server as a child process, which ends with its parent."""

from castwork.embedded.binary import find_binary
from castwork.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "find_binary"]
