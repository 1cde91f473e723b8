"""Place: some keys that share a slot, and the way to the server that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from castwork.model.errors import NotOpen, ServerRefused
from castwork.model.queue import Queue
from castwork.redis.connections import Connections
from castwork.redis.link import Link
from castwork.redis.pushes import Listener
from castwork.redis.replies import NoScript
from castwork.store.keys import ChannelKeys, QueueKeys, WorkerKeys
from castwork.store.scripts import Script


class Place:
    """Sends what concerns one slot to the link that serves it.

    A place opens closed connections, so that its callers need not.
    """

    def __init__(self, connections: Connections, slot: int) -> None:
        self.connections = connections
        self.slot = slot

    async def link(self) -> Link:
        """The link that serves the place; opens the connections if they are closed."""
        connections = self.connections
        if not connections.is_open:
            await connections.open()
        return connections.link_for(self.slot)

    def check_open(self) -> None:
        """Raise NotOpen once the connections are closed, for callers that must not reopen them."""
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
        """Run a script by its hash, and return its reply.

        The script cache of a server is volatile (a restart, a failover or SCRIPT FLUSH empties
        it): a script that is unknown there is sent whole, once.

        Raises:
            EffectUnknown, ConnectionFailed, ServerRefused: as `Link.call`.
        """
        connections = self.connections
        if not connections.is_open:
            await connections.open()
        call, count = connections.link_for(self.slot).call, len(keys)
        again = script.idempotent
        try:
            try:
                return await call(
                    "EVALSHA", script.sha, count, *keys, *args, idempotent=again, timeout=timeout
                )
            except NoScript:
                return await call(
                    "EVAL", script.source, count, *keys, *args, idempotent=again, timeout=timeout
                )
        except ServerRefused as error:
            if str(error).startswith("WRONGTYPE"):
                named = ", ".join(sorted(set(keys))[:10])
                raise ServerRefused(
                    f"WRONGTYPE: one of the keys {named} holds what castwork did not write: look"
                    " with TYPE KEY, and rename or delete it"
                ) from error
            raise

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
        """The Redis channel of castwork's own for a name, with the database's number in it.

        Redis channels are per server: without the number, databases would hear one another.
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
        await self.link()  # opens the connections: the channel's name has the database's number
        await self.listen(self.channel(self.keys.control), listener)

    def unlisten_control(self, listener: Listener) -> None:
        """Stop hearing which tasks are to be cancelled."""
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
