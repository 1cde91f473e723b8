"""Text that users' code makes, as of their exceptions: it may raise, or not be UTF-8."""

from __future__ import annotations

from collections.abc import Callable


def safe_text(make: Callable[[], str]) -> str:
    """The text that some code makes, whatever that code raises.

    What UTF-8 cannot hold (lone surrogates) is escaped.
    """
    try:
        return make().encode("utf-8", "backslashreplace").decode()
    except BaseException as error:
        return f"(no text: its own raised {type(error).__name__})"


def text_of(error: BaseException) -> str:
    """What an exception says."""
    return safe_text(lambda: str(error))
