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
        used_memory: bytes that are in use.
        has_msetex: whether it knows MSETEX, which sets many keys with one time to live.
    """

    product: str
    version: str
    compatible: tuple[int, ...]
    maxmemory: int
    eviction: str
    has_msetex: bool = False
    used_memory: int = 0

    @property
    def is_too_old(self) -> bool:
        """Whether it lacks commands that are needed."""
        return self.compatible < (6, 2)

    @property
    def evicts_all(self) -> bool:
        """Whether any key may go, such as a whole queue."""
        return bool(self.maxmemory) and self.eviction.startswith("allkeys")

    @property
    def evicts_results(self) -> bool:
        """Whether keys with a time to live may go before it ends."""
        return bool(self.maxmemory) and self.eviction.startswith("volatile")


async def read_server(link: Link) -> ServerInfo | None:
    """Read what the server is.

    Returns:
        The facts, None where the ACL hides them.

    Raises:
        ConnectionFailed: it did not answer.
    """
    raw: Any
    command: Any
    raw, command = await asyncio.gather(
        link.call("INFO"), link.call("COMMAND", "INFO", "MSETEX"), return_exceptions=True
    )
    if isinstance(raw, AuthenticationFailed):
        return None
    if isinstance(raw, BaseException):
        raise raw
    return _parse_info(raw, has_msetex=isinstance(command, list) and command != [None])


class Needs(msgspec.Struct, frozen=True):
    """What is asked of a server.

    Attributes:
        keeps_data: whether anything is kept there: tasks, histories or settings. Plain channels
            keep nothing, and work on a server that evicts keys.
        allows_eviction: whether what is kept may vanish at any time; the user has said so.
    """

    keeps_data: bool = True
    allows_eviction: bool = False


def judge_server(info: ServerInfo | None, where: object, needs: Needs) -> None:
    """Refuse a server that would lose tasks, and warn of what may be lost.

    Args:
        info: the facts, None where they are hidden.
        where: the address, for the message.
        needs: what is asked of the server.

    Raises:
        ServerUnsupported: it is older than Redis 6.2, or may evict streams.
    """
    if info is None:
        logger.info("INFO is not permitted: the server's version and policy are not checked")
        return
    if info.is_too_old:
        raise ServerUnsupported(
            f"{info.product} {info.version} at {where} is too old: Redis 6.2 or newer, or Valkey,"
            " is needed"
        )
    if info.evicts_all:
        _judge_eviction(info, where, needs)
    elif info.evicts_results:
        logger.warning(
            "maxmemory-policy %s: results and idempotency keys may be evicted early,"
            " queued tasks are safe",
            info.eviction,
        )


def _judge_eviction(info: ServerInfo, where: object, needs: Needs) -> None:
    if not needs.keeps_data:
        logger.warning(
            "maxmemory-policy %s: channels without history are safe; tasks, histories and settings"
            " would be evicted, and are refused",
            info.eviction,
        )
    elif needs.allows_eviction:
        logger.warning(
            "maxmemory-policy %s, which allow_eviction permits: when its memory is full, the server"
            " drops whole queues, histories and settings without a word",
            info.eviction,
        )
    else:
        raise ServerUnsupported(
            f"the server at {where} has maxmemory-policy {info.eviction}, which evicts whole"
            " queues, histories and settings: set it to noeviction. Only channels without history"
            " work there as it is; AppSettings(allow_eviction=True) takes the risk that tasks"
            " vanish"
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
        used_memory=int(facts.get("used_memory", 0)),
    )
