"""The Lua scripts, each read once and run by its hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """One state transition: a file in `lua/`, whose header says its keys and arguments.

    Args:
        name: the file.
        idempotent: whether a call may be sent again when its reply was lost. Most scripts are
            written so that a repeated call finds what the first call did.
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
        # Redis names scripts by SHA-1 (https://redis.io/commands/evalsha): security does not
        # depend on this hash.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


ENQUEUE = Script("enqueue")
ENQUEUE_NAMED = Script("enqueue_named")
REPLACE = Script("replace")
FREE_KEY = Script("free_key")
#: Not idempotent: a claim whose reply is lost has claimed. A sweep finds the tasks that it took.
CLAIM = Script("claim", idempotent=False)
ANNOUNCE = Script("announce")
FINISH = Script("finish")
END = Script("end")
PARK = Script("park")
BURY = Script("bury")
RELEASE = Script("release")
RENEW = Script("renew")
SAVE = Script("save")
#: Not idempotent, as a claim: a second call would leave out what the first one took.
RECOVER = Script("recover", idempotent=False)
ABANDON = Script("abandon")
SCHEDULE = Script("schedule")
TICKS = Script("ticks")
FIRE = Script("fire")
DUE = Script("due")
UNPARK = Script("unpark")
ARRIVE = Script("arrive")
TAKEN = Script("taken")
BEHIND = Script("behind")
TRACE = Script("trace")
UNWANTED = Script("unwanted")
CANCEL = Script("cancel")
REPLAY = Script("replay")
PURGE = Script("purge")
FORGET = Script("forget")
PASS_LIMITS = Script("pass_limits")
LEAVE_LIMITS = Script("leave_limits")
WAKE_LIMITS = Script("wake_limits")
HEAL_LIMITS = Script("heal_limits")
RETIRE = Script("retire")
WATCH = Script("watch")
UNWATCHED = Script("unwatched")
LOCK = Script("lock")
UNLOCK = Script("unlock")
BEAT = Script("beat")
#: Not idempotent by itself: the caller sets its argument `again` when it repeats the call.
PUBLISH = Script("publish", idempotent=False)
