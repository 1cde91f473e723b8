"""What the server is, and whether it is safe for tasks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from castwork.model.errors import AuthenticationFailed, ServerUnsupported
from castwork.redis.link import Link

logger = logging.getLogger(__name__)


class ServerInfo(msgspec.Struct, frozen=True):
    """Facts about a server.

    Attributes:
        product: `Redis` or `Valkey`.
        version: its own version.
        compatible: the Redis version whose commands it speaks.
        maxmemory: bytes, 0 for no bound.
        eviction: the maxmemory-policy.
        has_msetex: whether it knows MSETEX, which sets many keys with one time to live.
    """

    product: str
    version: str
    compatible: tuple[int, ...]
    maxmemory: int
    eviction: str
    has_msetex: bool = False


async def check_server(link: Link, *, keeps_data: bool = True) -> ServerInfo | None:
    """Read what the server is, and refuse one that would lose tasks.

    Args:
        link: a link to the server.
        keeps_data: whether anything is kept there: tasks, histories or settings. Plain channels
            keep nothing, and work on a server that evicts keys.

    Returns:
        The facts, None where the ACL hides them.

    Raises:
        ServerUnsupported: it is older than Redis 6.2, or may evict streams.
        ConnectionFailed: it did not answer.
    """
    raw: Any
    command: Any
    raw, command = await asyncio.gather(
        link.call("INFO"), link.call("COMMAND", "INFO", "MSETEX"), return_exceptions=True
    )
    if isinstance(raw, AuthenticationFailed):
        logger.info("INFO is not permitted: the server's version and policy are not checked")
        return None
    if isinstance(raw, BaseException):
        raise raw
    info = _parse_info(raw, has_msetex=isinstance(command, list) and command != [None])
    if info.compatible < (6, 2):
        raise ServerUnsupported(
            f"{info.product} {info.version} at {link.endpoint} is too old:"
            " Redis 6.2 or newer, or Valkey, is needed"
        )
    if info.maxmemory:
        _check_eviction(info, link, keeps_data=keeps_data)
    return info


def _check_eviction(info: ServerInfo, link: Link, *, keeps_data: bool) -> None:
    """Refuse a server that evicts what must stay; warn where it evicts something else."""
    if info.eviction.startswith("allkeys"):
        if keeps_data:
            raise ServerUnsupported(
                f"the server at {link.endpoint} has maxmemory-policy {info.eviction}, which evicts"
                " whole queues, histories and settings: set it to noeviction; only channels"
                " without history work there as it is"
            )
        logger.warning(
            "maxmemory-policy %s: channels without history are safe; tasks, histories and settings"
            " would be evicted, and are refused",
            info.eviction,
        )
    if info.eviction.startswith("volatile"):
        logger.warning(
            "maxmemory-policy %s: results and idempotency keys may be evicted early,"
            " queued tasks are safe",
            info.eviction,
        )


def _parse_info(raw: bytes, *, has_msetex: bool) -> ServerInfo:
    lines = (line.partition(":") for line in raw.decode().splitlines() if ":" in line)
    facts = {name: value for name, _, value in lines}
    compatible = facts.get("redis_version", "0")
    return ServerInfo(
        product="Valkey" if "valkey_version" in facts else "Redis",
        version=facts.get("valkey_version", compatible),
        compatible=tuple(int(part) for part in compatible.split(".") if part.isdigit()),
        maxmemory=int(facts.get("maxmemory", 0)),
        eviction=facts.get("maxmemory_policy", "noeviction"),
        has_msetex=has_msetex,
    )
