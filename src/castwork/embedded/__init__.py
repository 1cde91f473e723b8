"""A private Valkey or Redis server as a child process, which ends with those who use it."""

from castwork.embedded.binary import find_binary
from castwork.embedded.server import EmbeddedServer
from castwork.embedded.shared import SharedServer

__all__ = ["EmbeddedServer", "SharedServer", "find_binary"]
