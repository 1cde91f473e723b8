"""The Lua scripts, each loaded once and run by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from castwork.redis.link import Link
from castwork.redis.replies import NoScript

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """One state transition: a file in `lua/`, whose header says its keys and arguments."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str) -> None:
        source = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        if "-- USES owns" in source:
            source = (_FOLDER / "owns.lua").read_text(encoding="utf-8") + source
        self.name = name
        self.source = source
        # Redis names scripts by SHA-1 (https://redis.io/commands/evalsha); no secret hangs on it.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


ENQUEUE = Script("enqueue")
SCHEDULE = Script("schedule")
CLAIM = Script("claim")
START = Script("start")
FINISH = Script("finish")
RETRY = Script("retry")
BURY = Script("bury")
RELEASE = Script("release")
RENEW = Script("renew")
RECOVER = Script("recover")
DUE = Script("due")
PROMOTE = Script("promote")
CANCEL = Script("cancel")
REPLAY = Script("replay")
BEAT = Script("beat")
RETIRE = Script("retire")
PUBLISH = Script("publish")


class Scripts:
    """Runs scripts over a link.

    Every script but PUBLISH and CLAIM is idempotent, so that a lost reply is answered by
    sending the call again. The script cache of a server is volatile (a restart, a failover or
    SCRIPT FLUSH empties it): a script that is unknown there is sent whole, once.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        idempotent: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """Run a script and return its reply.

        Raises:
            EffectUnknown, ConnectionFailed, ServerRefused: as `Link.call`.
        """
        call = self._link.call
        try:
            return await call(
                "EVALSHA",
                script.sha,
                len(keys),
                *keys,
                *args,
                idempotent=idempotent,
                timeout=timeout,
            )
        except NoScript:
            return await call(
                "EVAL",
                script.source,
                len(keys),
                *keys,
                *args,
                idempotent=idempotent,
                timeout=timeout,
            )
