"""Inheriting: what a task that is enqueued inside of another takes over from it."""

from __future__ import annotations

from datetime import datetime
from time import monotonic, time

import msgspec

from castwork.model.call_options import CallSettings
from castwork.tasks.context import RunningAttempt

#: Seconds that are left, at least, to the child of a task whose deadline has just passed.
_SHORTEST = 0.001


def inherited(settings: CallSettings, parent: RunningAttempt) -> CallSettings:
    """The options of a call that the code of another task makes.

    The owner and the tenant are the parent's where the call names none, the headers are those of
    both, and of the two deadlines the earlier one counts. Labels, key and priority are the call's
    own.
    """
    meta = parent.meta
    changes: dict[str, object] = {}
    if meta is not None:
        changes["owner"] = settings.owner or meta.owner
        changes["tenant"] = settings.tenant or meta.tenant
        headers = {**meta.headers, **dict(settings.headers)}
        changes["headers"] = tuple(sorted(headers.items()))
    if parent.expires:
        left = max(_SHORTEST, parent.expires - monotonic())
        own = settings.deadline
        if isinstance(own, datetime):
            own = own.timestamp() - time()
        if own is None or left < own:
            changes["deadline"] = left
    return msgspec.structs.replace(settings, **changes)
