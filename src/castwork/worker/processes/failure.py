"""Exceptions on their way from one process to another."""

from __future__ import annotations

import pickle
import traceback

from castwork.model.errors import CastworkError, RemoteTraceback
from castwork.model.safe_text import name_of, safe_text, text_of
from castwork.worker.processes.messages import Failure


def failure_of(error: BaseException) -> Failure:
    """An exception as a message. Raises nothing itself."""
    frames = safe_text(lambda: "".join(traceback.format_exception(error, limit=-8)))
    return Failure(_pickled(error), name_of(error), text_of(error), frames)


def _pickled(error: BaseException) -> bytes:
    """The exception, if the other process can make it again."""
    try:
        pickled = pickle.dumps(error)
        return pickled if type(pickle.loads(pickled)) is type(error) else b""
    except Exception:
        return b""


def error_of(failure: Failure) -> BaseException:
    """The exception again, with the other process's traceback as its cause.

    An exception that cannot be made again comes as a CastworkError of the same name and text.
    """
    error: BaseException | None = None
    if failure.pickled:
        try:
            error = pickle.loads(failure.pickled)
        except Exception:
            error = None
    if not isinstance(error, BaseException):
        error = type(failure.type, (CastworkError,), {})(failure.message)
    error.__cause__ = RemoteTraceback(failure.traceback)
    return error
