"""Names as parts of longer names, as keys and task ids are."""

from __future__ import annotations

import re

_QUOTED = re.compile("~[0-9A-F]{2}")


def quoted(name: str, marks: str) -> str:
    """Return a name without the characters that divide a longer name.

    Different names stay different. A name that has none of the characters stays as it is, unless
    it looks like a quoted one.

    Args:
        name: the name.
        marks: ASCII characters to replace, each by `~` and its two hexadecimal digits. URLs leave
            a tilde alone, so that an id is the same in a path.
    """
    if not any(mark in name for mark in marks) and not _QUOTED.search(name):
        return name
    return "".join(f"~{ord(c):02X}" if c in marks or c == "~" else c for c in name)
