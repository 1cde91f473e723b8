"""The Lua scripts, each loaded once and run by its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from castwork.redis.link import Link
from castwork.redis.replies import NoScript

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """One state transition: a file in `lua/`, whose header says its keys and arguments.

    Args:
        name: the file.
        idempotent: whether a call may be sent again when its reply was lost. Most scripts are
            written so that a repeated call finds what the first one did.
    """

    __slots__ = ("idempotent", "name", "sha", "source")

    def __init__(self, name: str, *, idempotent: bool = True) -> None:
        source = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        if uses := re.search(r"^-- USES (.+)$", source, re.MULTILINE):
            preludes = [_FOLDER / "lib" / f"{used}.lua" for used in uses[1].split()]
            source = "".join([*(p.read_text(encoding="utf-8") for p in preludes), source])
        self.name = name
        self.idempotent = idempotent
        self.source = source
        # Redis names scripts by SHA-1 (https://redis.io/commands/evalsha); no secret hangs on it.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


ENQUEUE = Script("enqueue")
ENQUEUE_NAMED = Script("enqueue_named")
#: A claim whose reply is lost has claimed: a sweep finds what it took.
CLAIM = Script("claim", idempotent=False)
ANNOUNCE = Script("announce")
FINISH = Script("finish")
PARK = Script("park")
BURY = Script("bury")
RELEASE = Script("release")
RENEW = Script("renew")
RECOVER = Script("recover")
DUE = Script("due")
UNPARK = Script("unpark")
CANCEL = Script("cancel")
REPLAY = Script("replay")
PURGE = Script("purge")
RETIRE = Script("retire")
BEAT = Script("beat")
#: Its caller asks whether the event is there before it sends one again.
PUBLISH = Script("publish", idempotent=False)


async def run(
    link: Link,
    script: Script,
    keys: Sequence[str],
    args: Sequence[Any],
    *,
    timeout: float | None = None,
) -> Any:
    """Run a script and return its reply.

    The script cache of a server is volatile (a restart, a failover or SCRIPT FLUSH empties it):
    a script that is unknown there is sent whole, once.

    Raises:
        EffectUnknown, ConnectionFailed, ServerRefused: as `Link.call`.
    """
    again = script.idempotent
    try:
        return await link.call(
            "EVALSHA", script.sha, len(keys), *keys, *args, idempotent=again, timeout=timeout
        )
    except NoScript:
        return await link.call(
            "EVAL", script.source, len(keys), *keys, *args, idempotent=again, timeout=timeout
        )
