"""Text that users' code makes, as of their exceptions: it may raise, or not be UTF-8."""

from __future__ import annotations

from collections.abc import Callable

#: Unicode's spaces of other kinds (Zs); to ask `unicodedata` would cost every process its start.
_SPACES = frozenset(map(chr, (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))


def safe_text(make: Callable[[], str]) -> str:
    """The text that some code makes, whatever that code raises.

    What UTF-8 cannot hold (lone surrogates) is escaped.
    """
    try:
        return make().encode("utf-8", "backslashreplace").decode()
    except BaseException as error:
        return f"(no text: its own raised {type(error).__name__})"


def printable(text: str, most: int = 300) -> str:
    """Text of strangers for a log or a terminal: one line, cut, without control characters.

    Those would forge lines and steer terminals. They are escaped as in a Python string.

    Args:
        text: any text.
        most: characters at most.
    """
    if len(text) > most:
        text = f"{text[:most]}..."
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    # A space of another kind does no harm, and repr would show its code.
    if character.isprintable() or character in _SPACES:
        return character
    return repr(character)[1:-1]


def text_of(error: BaseException) -> str:
    """What an exception says."""
    return safe_text(lambda: str(error))


def name_of(error: BaseException) -> str:
    """The name of an exception's type."""
    return safe_text(lambda: type(error).__name__)
