"""Probes: each command that castwork sends, in a form that changes nothing."""

from __future__ import annotations

from typing import Any

#: What every app sends, each command in a form that does nothing.
ALWAYS: dict[str, tuple[Any, ...]] = {
    "CLIENT|SETNAME": ("CLIENT", "SETNAME", "castwork-commands"),
    "PING": ("PING",),
    "INFO": ("INFO", "server"),
    "COMMAND|INFO": ("COMMAND", "INFO", "PING"),
}

#: What an app with tasks, histories or settings sends as well; `KEY` stands for a key that does not
#: exist. Where a command cannot but write, its arguments are wrong, which is seen after the rights.
FOR_DATA: dict[str, tuple[Any, ...]] = {
    "CLIENT|UNBLOCK": ("CLIENT", "UNBLOCK", 0),
    "TIME": ("TIME",),
    "EVAL": ("EVAL", "return 1", 0),
    "EVALSHA": ("EVALSHA", 40 * "0", 0),
    "GET": ("GET", "KEY"),
    "SET": ("SET", "KEY", "", "XX"),
    "PSETEX": ("PSETEX", "KEY", 0, ""),
    "MSET": ("MSET", "KEY", "", "KEY"),
    "MSETEX": ("MSETEX", 0, "KEY", ""),
    "DEL": ("DEL", "KEY"),
    "EXISTS": ("EXISTS", "KEY"),
    "PEXPIRE": ("PEXPIRE", "KEY", 1),
    "HGET": ("HGET", "KEY", "f"),
    "HGETALL": ("HGETALL", "KEY"),
    "HEXISTS": ("HEXISTS", "KEY", "f"),
    "HSCAN": ("HSCAN", "KEY", 0),
    "HSET": ("HSET", "KEY", "f", "", "f"),
    "HDEL": ("HDEL", "KEY", "f"),
    "ZADD": ("ZADD", "KEY", "XX", 1, "m"),
    "ZREM": ("ZREM", "KEY", "m"),
    "ZCARD": ("ZCARD", "KEY"),
    "ZSCORE": ("ZSCORE", "KEY", "m"),
    "ZRANGE": ("ZRANGE", "KEY", 0, 0),
    "ZRANGEBYSCORE": ("ZRANGEBYSCORE", "KEY", 0, 0),
    "ZLEXCOUNT": ("ZLEXCOUNT", "KEY", "-", "+"),
    "XADD": ("XADD", "KEY", "NOMKSTREAM", "*", "f", ""),
    "XACK": ("XACK", "KEY", "g", "1-1"),
    "XDEL": ("XDEL", "KEY", "1-1"),
    "XLEN": ("XLEN", "KEY"),
    "XTRIM": ("XTRIM", "KEY", "MAXLEN", 1),
    "XRANGE": ("XRANGE", "KEY", "-", "+", "COUNT", 1),
    "XREVRANGE": ("XREVRANGE", "KEY", "+", "-", "COUNT", 1),
    "XPENDING": ("XPENDING", "KEY", "g"),
    "XCLAIM": ("XCLAIM", "KEY", "g", "c", 0, "1-1"),
    "XREADGROUP": ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "KEY", ">"),
    "XGROUP": ("XGROUP", "CREATE", "KEY", "g", "0"),
    "XINFO": ("XINFO", "STREAM", "KEY"),
    "PUBLISH": ("PUBLISH", "KEY", ""),
    "PUBSUB|NUMSUB": ("PUBSUB", "NUMSUB", "KEY"),
}

#: The commands without which an app works, with less comfort or speed.
OPTIONAL = frozenset(
    {"CLIENT|SETNAME", "CLIENT|UNBLOCK", "COMMAND|INFO", "INFO", "MSETEX", "PUBSUB|NUMSUB"}
)


def probes(free: str) -> dict[str, tuple[Any, ...]]:
    """The commands by their names in an ACL.

    Args:
        free: the name of a key that does not exist; empty for an app that keeps nothing.
    """
    if not free:
        return ALWAYS
    return ALWAYS | {
        name: tuple(free if word == "KEY" else word for word in probe)
        for name, probe in FOR_DATA.items()
    }
