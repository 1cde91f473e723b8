"""Place: some keys that share a slot, and the way to the server that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from castwork.model.errors import NotOpen
from castwork.model.queue import Queue
from castwork.redis.connections import Connections
from castwork.redis.link import Link
from castwork.redis.pushes import Listener
from castwork.store.keys import ChannelKeys, QueueKeys, WorkerKeys
from castwork.store.scripts import Script, run


class Place:
    """Sends what concerns one slot to the link that serves it.

    Opens the connections when they are not: nobody else asks for that.
    """

    def __init__(self, connections: Connections, slot: int) -> None:
        self.connections = connections
        self.slot = slot

    async def link(self) -> Link:
        """The link that serves the place, opened when it is not."""
        connections = self.connections
        if not connections.is_open:
            await connections.open()
        return connections.link_for(self.slot)

    def check_open(self) -> None:
        """Raise NotOpen once the connections are closed, for those who must not open them again."""
        if not self.connections.is_open:
            raise NotOpen("the connections were closed: use the app inside `async with app`")

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        timeout: float | None = None,
    ) -> Any:
        """Run a script. Raises as `Link.call`."""
        return await run(await self.link(), script, keys, args, timeout=timeout)

    async def call(
        self, *command: Any, idempotent: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a command. Raises as `Link.call`."""
        link = await self.link()
        return await link.call(*command, idempotent=idempotent, timeout=timeout)

    async def listen(self, channel: str, listener: Listener) -> None:
        """Listen to a Redis channel; what is published after the return is heard."""
        await self.link()
        await self.connections.pushes.add(channel, listener)

    def unlisten(self, channel: str, listener: Listener) -> None:
        """Stop listening."""
        if self.connections.is_open:
            self.connections.pushes.remove(channel, listener)

    def channel(self, name: str) -> str:
        """The Redis channel of castwork's own for a name.

        Redis channels are per server: databases would hear one another without their number.
        """
        database = self.connections.database
        return f"{name}@{database}" if database else name


class QueuePlace(Place):
    """Where the keys of a queue are."""

    def __init__(self, connections: Connections, namespace: str, queue: Queue) -> None:
        self.queue = queue
        self.keys = QueueKeys.of(namespace, queue)
        super().__init__(connections, self.keys.slot)

    def told(self, producer: str) -> str:
        """The Redis channel on which a producer is told the outcomes of its tasks."""
        return self.channel(self.keys.told(producer))

    async def listen_control(self, listener: Listener) -> None:
        """Hear which tasks of the queue are to be cancelled, by their ids."""
        await self.link()  # opened first: the channel's name has the database
        await self.listen(self.channel(self.keys.control), listener)

    def unlisten_control(self, listener: Listener) -> None:
        """Hear it no more."""
        self.unlisten(self.channel(self.keys.control), listener)


class ChannelPlace(Place):
    """Where the keys of a channel with a history, or of a setting, are."""

    def __init__(self, connections: Connections, name: str, keys: ChannelKeys) -> None:
        self.name = name
        self.keys = keys
        super().__init__(connections, keys.slot)


class RegisterPlace(Place):
    """Where the register of live workers is."""

    def __init__(self, connections: Connections, namespace: str) -> None:
        self.keys = WorkerKeys(namespace)
        super().__init__(connections, self.keys.slot)
