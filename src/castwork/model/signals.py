"""Signals: what a task function raises to say what becomes of its task.

They stand outside of the tree of errors, so that `except CastworkError` never swallows them.
"""

from __future__ import annotations

from castwork.model.option_values import Seconds, seconds


class Discard(Exception):
    """Raise in a task function to end it as `failed` at once: no retry, no dead letter."""


class Retry(Exception):
    """Raise in a task function to have it tried again.

    Args:
        reason: why, for people.
        after: seconds to wait, or a `timedelta`; the task's backoff decides when it is None. The
            text of a `Retry-After` header must be made a number first.
        counted: whether the attempt counts against the task's attempts. False suits a service that
            says when to come again; then only a deadline bounds the retries.

    Raises:
        DefinitionError: `after` is text, NaN, infinite or negative.
    """

    #: Seconds to wait, None for the backoff; also of a subclass that does not call `__init__`.
    after: float | None = None
    #: Whether the attempt counts.
    counted: bool = True

    def __init__(
        self, reason: str = "", *, after: Seconds | None = None, counted: bool = True
    ) -> None:
        super().__init__(reason)
        self.counted = counted
        self.after = None if after is None else seconds("Retry: after", after)
