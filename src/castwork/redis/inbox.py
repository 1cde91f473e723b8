"""Inbox: what a channel said, kept for a task that reads it in its own time."""

from __future__ import annotations

import asyncio


class Inbox:
    """A listener with a bounded backlog, for one reader.

    When the bound is passed, all that is held is dropped and `overflowed` is set: the reader
    then reads what Redis keeps. The same goes for `resumed`, after the connection was away.
    Messages that come after that moment are held again.

    Args:
        max_items: messages held at most.
        max_bytes: bytes of payload held at most.

    Attributes:
        overflowed: messages were dropped since the last `take_gap`.
        resumed: the connection was away since the last `take_gap`.
    """

    def __init__(self, *, max_items: int = 10_000, max_bytes: int = 16_000_000) -> None:
        self.overflowed = False
        self.resumed = False
        self._max_items = max_items
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
        self._bytes += len(payload)
        if len(self._messages) > self._max_items or self._bytes > self._max_bytes:
            self._drop()
            self.overflowed = True
        self._changed.set()

    def on_resumed(self) -> None:
        """Note that the connection was away."""
        self.resumed = True
        self._changed.set()

    async def wait(self) -> bool:
        """Wait for something new: a message, `resumed` or `overflowed`.

        Returns:
            True, or False once the inbox is closed.
        """
        while not (self._messages or self.resumed or self.overflowed or self._is_closed):
            self._changed.clear()
            await self._changed.wait()
        return not self._is_closed

    def take(self) -> list[bytes]:
        """Return the messages held, oldest first, and hold them no longer."""
        messages = self._messages
        self._drop()
        return messages

    def take_gap(self) -> bool:
        """Whether messages may be missing since the last call; clears both marks.

        To be called before Redis is read, so that a gap that comes meanwhile is seen next time.
        """
        has_gap = self.overflowed or self.resumed
        self.overflowed = self.resumed = False
        return has_gap

    def close(self) -> None:
        """Drop what is held, take nothing more, and end `wait`."""
        self._is_closed = True
        self._drop()
        self._changed.set()

    def _drop(self) -> None:
        self._messages = []
        self._bytes = 0
