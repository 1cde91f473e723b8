"""Topology: which server has which key, and the links to the servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from castwork.model.settings import LinkSettings
from castwork.redis.address import Endpoint, Target
from castwork.redis.link import Link
from castwork.redis.login import Login


class Topology(Protocol):
    """One server, or many that share the slots."""

    @property
    def joins_slots(self) -> bool:
        """Whether one command may name keys of several slots; known once the topology is open."""

    async def open(self) -> None:
        """Connect. Raises what `Link.open` raises."""

    async def close(self) -> None:
        """Close all links but the dedicated ones."""

    def link_for(self, slot: int) -> Link:
        """The shared link to the server that has a slot."""

    def links(self) -> Sequence[Link]:
        """The shared links, one for each server."""

    async def find(self, slot: int | None) -> Endpoint:
        """Look up the server that has a slot; None: any server."""

    def endpoint_of(self, slot: int) -> Endpoint:
        """The server that was last known to have a slot; may be asked from any thread."""

    async def dedicated(self, slot: int, name: str, *, patience: float) -> Link:
        """Open one more link to the server that has a slot, for the caller to close.

        The link follows the slot: it looks the server up each time that it connects.

        Args:
            slot: the slot.
            name: shown by CLIENT LIST.
            patience: seconds that the link's reads may block.

        Raises what `Link.open` raises.
        """


class Single:
    """One server, which has all slots: also the one node of a cluster, or a proxy."""

    def __init__(self, target: Target, settings: LinkSettings, login: Login) -> None:
        self._target = target
        self._settings = settings
        self._login = login
        self._commands = self._link("castwork-commands")

    @property
    def joins_slots(self) -> bool:
        """True, unless the server is a node of a cluster, which refuses such a command."""
        return self._commands.hello.get(b"mode") != b"cluster"

    async def open(self) -> None:
        """Connect. Raises what `Link.open` raises."""
        await self._commands.open()

    async def close(self) -> None:
        """Close the shared link."""
        await self._commands.close()

    def link_for(self, slot: int) -> Link:
        """The one shared link."""
        return self._commands

    def links(self) -> Sequence[Link]:
        """The one shared link."""
        return (self._commands,)

    async def find(self, slot: int | None) -> Endpoint:
        """The one address."""
        return self._target.seeds[0]

    def endpoint_of(self, slot: int) -> Endpoint:
        """The one address."""
        return self._target.seeds[0]

    async def dedicated(self, slot: int, name: str, *, patience: float) -> Link:
        """Open one more link, for the caller to close. Raises what `Link.open` raises."""
        link = self._link(name, slot, patience)
        await link.open()
        return link

    def _link(self, name: str, slot: int = 0, patience: float = 0.0) -> Link:
        return Link(
            lambda: self.find(slot),
            self._settings,
            self._login,
            target=self._target,
            name=name,
            patience=patience,
        )


def open_topology(target: Target, settings: LinkSettings, login: Login) -> Topology:
    """The topology that a URL asks for; not connected yet."""
    return Single(target, settings, login)
