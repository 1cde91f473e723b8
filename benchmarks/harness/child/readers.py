"""Reads server-sent events of many tasks, each over its own connection, and measures how late each
chunk comes.

    readers.py PORT CHUNKS TIMEOUT < paths      one path per line; prints one JSON line when all
    chunks have come

A chunk carries `t=<CLOCK_MONOTONIC seconds>;`, written when the task made it, so no format of
events is assumed.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

STAMP = re.compile(rb"t=([0-9.]+);")


class Reader(asyncio.Protocol):
    """One connection; done when it has seen `chunks` stamps, or when it is closed."""

    def __init__(self, path: str, chunks: int, delays: list[float]) -> None:
        self._path, self._left, self._delays = path, chunks, delays
        self._rest = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        head = f"GET {self._path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream"
        transport.write(f"{head}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now, data = time.monotonic(), self._rest + data
        end = 0
        for match in STAMP.finditer(data):
            if not self._left:
                break  # an event with the whole result repeats the stamps
            self._delays.append(now - float(match[1]))
            self._left -= 1
            end = match.end()
        self._rest = data[end:][-64:]
        if self._left <= 0 and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main(port: int, chunks: int, limit: float, paths: list[str]) -> None:
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    readers: list[Reader] = []
    for path in paths:
        reader = Reader(path, chunks, delays)
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)  # type: ignore[misc]
        readers.append(reader)
    await asyncio.wait([reader.done for reader in readers], timeout=limit)
    delays.sort()
    last = len(delays) - 1
    p50, p99 = (delays[int(part * last)] if delays else 0.0 for part in (0.5, 0.99))
    print(json.dumps({"received": len(delays), "p50": p50, "p99": p99}), flush=True)


if __name__ == "__main__":
    port, chunks, limit = sys.argv[1:]
    asyncio.run(main(int(port), int(chunks), float(limit), sys.stdin.read().split()))
