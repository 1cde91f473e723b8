"""Members: which subscribers of a channel, or which workers, are alive."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from castwork.redis.pushes import Listener
from castwork.store.place import ChannelPlace, Place, RegisterPlace
from castwork.store.scripts import BEAT


class Member(NamedTuple):
    """A process or a worker that gave a sign of life.

    Attributes:
        name: the member's id.
        silent_for: seconds since the member's last sign of life, by the server's clock.
        info: what the member said about itself.
    """

    name: str
    silent_for: float
    info: bytes


class Members:
    """A register of signs of life, for people and receipts: no task depends on it.

    Args:
        place: the place of its keys.
        register: key of the signs of life.
        info: key of what members say about themselves.
        news: the Redis channel on which members can announce their info; empty for none.
    """

    def __init__(self, place: Place, register: str, info: str, news: str = "") -> None:
        self._place = place
        self._register = register
        self._info = info
        self._news = news

    @classmethod
    def of_channel(cls, place: ChannelPlace) -> Members:
        """The subscribers of a channel."""
        return cls(place, place.keys.members, place.keys.positions, place.keys.applied)

    @classmethod
    def of_workers(cls, place: RegisterPlace) -> Members:
        """The workers of a namespace."""
        return cls(place, place.keys.register, place.keys.info)

    @property
    def own_name(self) -> str:
        """The name of this process, known once the connections are open."""
        return self._place.connections.member

    @property
    def news(self) -> str:
        """The Redis channel on which members announce themselves; empty where they do not."""
        return self._place.channel(self._news) if self._news else ""

    async def beat(
        self, member: str, info: bytes, silent_after_ms: int, announce: str | None = None
    ) -> None:
        """Give a sign of life, and forget a few members that have been silent for long.

        Args:
            member: the member that is alive.
            info: what the member says about itself, as JSON.
            silent_after_ms: milliseconds of silence after which a member is forgotten.
            announce: the Redis channel that is told the info.

        Raises:
            ConnectionFailed: no server in time.
            OutOfMemory: the server takes nothing at present.
        """
        keys = [self._register, self._info]
        await self._place.run(BEAT, keys, [member, info, silent_after_ms, announce or ""])

    async def leave(self, member: str, *, timeout: float = 2.0) -> None:
        """Take a member off the register; without this, its silence would do so later.

        Raises:
            ConnectionFailed: no server in time.
        """
        link = await self._place.link()
        await asyncio.gather(
            link.call("ZREM", self._register, member, timeout=timeout),
            link.call("HDEL", self._info, member, timeout=timeout),
        )

    async def alive(self) -> list[Member]:
        """The members on the register; a member that has long been silent may be gone.

        Raises:
            ConnectionFailed: no server in time.
        """
        link = await self._place.link()
        # The time comes from the server, whose clock dated the signs of life: clocks differ.
        time, scores, infos = await asyncio.gather(
            link.call("TIME"),
            link.call("ZRANGE", self._register, 0, -1, "WITHSCORES"),
            link.call("HGETALL", self._info),
        )
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        return [
            Member(name.decode(errors="replace"), max(0.0, (now_ms - at_ms) / 1000), infos[name])
            for name, at_ms in scores
            if name in infos
        ]

    async def listen(self, listener: Listener) -> None:
        """Hear what members announce; what is announced after the return is heard.

        Raises:
            ConnectionFailed: no server in time.
        """
        await self._place.link()
        await self._place.listen(self.news, listener)

    def unlisten(self, listener: Listener) -> None:
        """Stop hearing what members announce."""
        self._place.unlisten(self.news, listener)
