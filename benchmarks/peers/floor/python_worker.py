"""The floor in Python: the same loop as drain.c, tuned, without an event loop.

A read of 500, and its acknowledgements and results in one write. The next read is sent before the
last one's entries are run, so that server and client work at the same time.
"""

import os
import socket
import sys
from typing import Any
from urllib.parse import urlparse

import bodies
import hiredis

READ = (b"XREADGROUP", b"GROUP", b"g", str(os.getpid()).encode(), b"COUNT", sys.argv[1].encode())
ASK = hiredis.pack_command((*READ, b"BLOCK", b"2000", b"STREAMS", b"q", b">"))
SET = b"*5\r\n$3\r\nSET\r\n$%d\r\nr:%b\r\n$%d\r\n%b\r\n$2\r\nPX\r\n$7\r\n3600000\r\n"


def dial() -> socket.socket:
    address = urlparse(bodies.URL)
    link = socket.create_connection((address.hostname, address.port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def answer(link: socket.socket, reader: hiredis.Reader) -> Any:
    while (found := reader.gets()) is False:
        if not (data := link.recv(1 << 18)):
            sys.exit(0)
        reader.feed(data)
    if isinstance(found, hiredis.ReplyError):
        sys.exit(f"floor: {found}")
    return found


def discard(link: socket.socket) -> None:
    """Throws away the answers that have come, but not an error: a line that begins with a minus."""
    try:
        while data := link.recv(1 << 18, socket.MSG_DONTWAIT):
            if b"\n-" in data or data.startswith(b"-"):
                sys.exit(f"floor: {data!r}"[:300])
    except BlockingIOError:
        return
    sys.exit(0)


def main() -> None:
    reading, writing, reader, noop = dial(), dial(), hiredis.Reader(), bodies.noop_sync
    reading.sendall(ASK)
    while True:
        reply = answer(reading, reader)
        reading.sendall(ASK)
        if not reply:
            continue
        ids, out = [], []
        for entry, (_, payload) in reply[0][1]:
            value = b"%d" % noop(payload)
            ids.append(entry)
            out.append(SET % (len(entry) + 2, entry, len(value), value))
        done = hiredis.pack_command((b"XACK", b"q", b"g", *ids))
        writing.sendall(b"".join((done, hiredis.pack_command((b"XDEL", b"q", *ids)), *out)))
        discard(writing)


main()
