"""The floor's gateway: reads one stream of all chunks and writes server-sent events over a bare
HTTP protocol.
"""

import asyncio
import sys
from collections import defaultdict
from typing import Any

import bodies
from link import connect

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
history: dict[bytes, list[bytes]] = defaultdict(list)
readers: dict[bytes, Any] = {}


class Connection(asyncio.Protocol):
    """One reader of one task's chunks: first all there are, then each new one."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._id = data.split(b" ", 2)[1].removeprefix(b"/")
        self._transport.write(HEAD + b"".join(history[self._id]))
        readers[self._id] = self._transport

    def connection_lost(self, error: Exception | None) -> None:
        readers.pop(self._id, None)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Connection, "127.0.0.1", port)
    link, last = await connect(bodies.URL), b"0"
    while True:
        reply = await link.call(
            b"XREAD", b"COUNT", 1000, b"BLOCK", 1000, b"STREAMS", b"chunks", last
        )
        for entry, (task_id, data) in reply[0][1] if reply else ():
            last = entry
            event = b"data: %s\n\n" % data
            history[task_id].append(event)
            if task_id in readers:
                readers[task_id].write(event)


bodies.run(main(int(sys.argv[1])))
