"""Twins: a program that was loaded a second time, under the name of its file."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

logger = logging.getLogger(__name__)

_told: set[str] = set()


def warn_of_twin(kind: type) -> None:
    """Warn once if the program's main file was imported too, and both have objects of a type.

    `python program.py` runs the file as `__main__`; who imports `program` runs it again and gets
    other objects: an App there has tasks that this one's worker does not know.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is None or file is None or not _has(main, kind):
        return
    for name, module in list(sys.modules.items()):
        if module is main or getattr(module, "__file__", None) != file or name in _told:
            continue
        if _has(module, kind):
            _told.add(name)
            logger.warning(
                "%s is loaded twice, as `__main__` and as `%s`, so that there are two %ss with"
                " tasks of their own: put the %s into a file that the program imports, or start"
                " the program with `castwork up %s`",
                file,
                name,
                kind.__name__,
                kind.__name__,
                name,
            )


def _has(module: ModuleType, kind: type) -> bool:
    return any(isinstance(value, kind) for value in vars(module).values())
