"""Rights: what the login of an app may not do, found out by commands that change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from castwork.model.errors import AuthenticationFailed, ServerRefused
from castwork.redis.connections import Connections
from castwork.redis.link import Link
from castwork.store.keys import ChannelKeys, WorkerKeys
from castwork.store.place import QueuePlace
from castwork.store.probes import probes


class Rights(msgspec.Struct):
    """What a login may not do, of what an app does.

    Attributes:
        user: the user, empty where the server does not say.
        commands: commands that are refused.
        keys: patterns of keys that may not be written.
        channels: Redis channels that may not be heard.
    """

    user: str = ""
    commands: list[str] = msgspec.field(default_factory=list)
    keys: list[str] = msgspec.field(default_factory=list)
    channels: list[str] = msgspec.field(default_factory=list)


class Uses(msgspec.Struct, frozen=True):
    """What an app declares.

    Attributes:
        namespace: the namespace.
        queues: its queues.
        kept: names of channels with a history.
        settings: names of settings.
        plain: names of channels without a history.
    """

    namespace: str
    queues: Sequence[QueuePlace] = ()
    kept: Sequence[str] = ()
    settings: Sequence[str] = ()
    plain: Sequence[str] = ()


async def examine_rights(connections: Connections, uses: Uses) -> Rights:
    """Look at what the login may not do; each refusal adds a line to the server's ACL LOG.

    Raises:
        ConnectionFailed: no server in time.
    """
    parts = _parts(uses)
    rights = Rights()
    missing: set[str] = set()
    for link in connections.links():
        rights.user = await _user(link)
        missing |= await _refused_commands(link, parts[0].free if parts else "")
    for part in parts:
        call = connections.link_for(part.slot).call
        # No stream has an entry 0-0, and a key of another kind is refused after the rights.
        refusals = await asyncio.gather(
            *(call("XDEL", key, "0-0") for key in part.written), return_exceptions=True
        )
        if any(_refuses(refusal, "key") for refusal in refusals):
            rights.keys.append(part.pattern)
    rights.keys = list(dict.fromkeys(rights.keys))
    for name in [*uses.plain, *(part.live for part in parts if part.live)]:
        refusal = await _hear(connections, name)
        if _refuses(refusal, "channel"):
            rights.channels.append(name)
        elif _refuses(refusal, "run"):
            missing.add("SUBSCRIBE")
    rights.commands = sorted(missing)
    return rights


class _Part(msgspec.Struct, frozen=True):
    """Keys that a user gets or does not get together.

    Attributes:
        slot: their slot.
        pattern: all of them, for an ACL.
        free: a name among them that no key has.
        written: some that an app writes.
        live: a Redis channel that goes with them; empty for none.
    """

    slot: int
    pattern: str
    free: str
    written: tuple[str, ...]
    live: str = ""


def _parts(uses: Uses) -> list[_Part]:
    parts = []
    for place in uses.queues:
        keys, stream = place.keys, place.queue.stream
        pattern = _own(uses) if stream is None else f"{keys.prefix}:*"
        free = keys.record("probe")
        parts.append(_Part(keys.slot, pattern, free, (keys.dead,), place.channel(keys.control)))
        if stream is not None:
            parts.append(_Part(keys.slot, stream, free, (stream,)))
    if parts:
        workers = WorkerKeys(uses.namespace)
        parts.append(_Part(workers.slot, _own(uses), workers.info, (workers.register,)))
    of_channels = [ChannelKeys.of(uses.namespace, name) for name in uses.kept]
    of_channels += [ChannelKeys.of_setting(uses.namespace, name) for name in uses.settings]
    for of in of_channels:
        parts.append(_Part(of.slot, _own(uses), of.live, (of.history,), of.live))
    return parts


def _own(uses: Uses) -> str:
    return WorkerKeys(uses.namespace).register.partition(":")[0] + ":*"


async def _user(link: Link) -> str:
    try:
        return str((await link.call("ACL", "WHOAMI")).decode())
    except (AuthenticationFailed, ServerRefused):
        return ""


async def _refused_commands(link: Link, free: str) -> set[str]:
    """The commands that are refused; `free` is a key that does not exist, or empty."""
    asked = probes(free)
    calls = [link.call(*probe) for probe in asked.values()]
    replies = await asyncio.gather(*calls, return_exceptions=True)
    for reply in replies:
        refused = isinstance(reply, (AuthenticationFailed, ServerRefused))
        if isinstance(reply, BaseException) and not refused:
            raise reply
    return {name for name, reply in zip(asked, replies, strict=True) if _refuses(reply, "run")}


class _Deaf:
    """Hears a channel for nobody."""

    def on_message(self, payload: bytes) -> None:
        pass

    def on_resumed(self) -> None:
        pass


async def _hear(connections: Connections, channel: str) -> Exception | None:
    """Subscribe for a moment; return why that is refused."""
    deaf = _Deaf()
    try:
        await connections.pushes.add(channel, deaf)
    except (AuthenticationFailed, ServerRefused) as error:
        return error
    connections.pushes.remove(channel, deaf)
    return None


def _refuses(reply: object, kind: str) -> bool:
    """Whether a reply refuses to "run" a command, or to access a "key" or a "channel"."""
    if not isinstance(reply, AuthenticationFailed):
        return False
    if " to run " in str(reply):
        return kind == "run"
    return kind in str(reply)
