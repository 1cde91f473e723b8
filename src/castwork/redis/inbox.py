"""Inbox: keeps a channel's messages for an asyncio task that takes them when it has time."""

from __future__ import annotations

import asyncio

#: Bytes that a message takes in memory beside its payload.
_OVERHEAD = 50


class Inbox:
    """A listener with a bounded backlog, for one reader.

    When the bound is passed, the older half of what is held is dropped. `has_gap` then tells the
    reader to read what Redis keeps, and so it does after the connection was away.

    Args:
        max_bytes: bytes held at most, with those that Python needs beside a payload.

    Attributes:
        has_gap: messages may be missing since the last `take_gap`: some were dropped, or the
            connection was away.
        dropped: messages dropped so far.
    """

    def __init__(self, *, max_bytes: int = 16_000_000) -> None:
        self.has_gap = False
        self.dropped = 0
        self._max_bytes = max_bytes
        self._messages: list[bytes] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._is_closed = False

    def on_message(self, payload: bytes) -> None:
        """Hold a message."""
        if self._is_closed:
            return
        self._messages.append(payload)
        self._bytes += len(payload) + _OVERHEAD
        if self._bytes > self._max_bytes:
            self._shed()
        self._changed.set()

    def on_resumed(self) -> None:
        """Note that the connection was away."""
        self.has_gap = True
        self._changed.set()

    async def wait(self) -> bool:
        """Wait for something new: a message, or a gap.

        Returns:
            True, or False once the inbox is closed.
        """
        while not (self._messages or self.has_gap or self._is_closed):
            self._changed.clear()
            await self._changed.wait()
        return not self._is_closed

    def take(self) -> list[bytes]:
        """Return the messages held, oldest first, and empty the inbox."""
        messages = self._messages
        self._drop()
        return messages

    def take_gap(self) -> bool:
        """Whether messages may be missing since the last call; clears `has_gap`.

        Call it before Redis is read, so that a gap which comes meanwhile is seen next time.
        """
        has_gap, self.has_gap = self.has_gap, False
        return has_gap

    def close(self) -> None:
        """Drop what is held, take nothing more, and end `wait`."""
        self._is_closed = True
        self._drop()
        self._changed.set()

    def _shed(self) -> None:
        """Drop the oldest messages until half of the room is free."""
        messages, count = self._messages, 0
        while count < len(messages) and self._bytes > self._max_bytes // 2:
            self._bytes -= len(messages[count]) + _OVERHEAD
            count += 1
        del messages[:count]
        self.dropped += count
        self.has_gap = True

    def _drop(self) -> None:
        self._messages = []
        self._bytes = 0
