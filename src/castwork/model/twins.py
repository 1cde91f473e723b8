"""Twins: the objects of a program that was loaded a second time, under the name of its file.

`python program.py` runs the file as `__main__`; who imports `program` runs it again, and gets other
objects than the program itself.
"""

from __future__ import annotations

import logging
import sys
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_told: set[str] = set()


def find_twin(one: T) -> T | None:
    """The object that has the same name in the imported copy of the program, as `one` in the first.

    A warning says once that there are two.

    Args:
        one: an object that the program's main file has under some name.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is None or file is None:
        return None
    names = [name for name, value in vars(main).items() if value is one]
    if not names:
        return None
    for module in list(sys.modules.values()):
        if module is main or getattr(module, "__file__", None) != file:
            continue
        twin = vars(module).get(names[0])
        if isinstance(twin, type(one)) and twin is not one:
            _warn(file, module.__name__, names[0])
            return twin
    return None


def _warn(file: str, module: str, name: str) -> None:
    if module in _told:
        return
    _told.add(module)
    logger.warning(
        "%s is loaded twice, as `__main__` and as `%s`, so that there are two `%s`: their tasks run"
        " in one worker, but channels and settings are two. Put `%s` into a file that the program"
        " imports, or start the program with `castwork up %s`",
        file,
        module,
        name,
        name,
        module,
    )
