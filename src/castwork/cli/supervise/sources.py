"""Sources: tells when a file of the user's program changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from castwork.cli.failure import MISUSED, Failure

if TYPE_CHECKING:
    from castwork.cli.supervise.child import Child

#: Milliseconds without a change that end a group of changes, as an editor or git makes them.
_QUIET = 100


def require_watching() -> None:
    """Raise Failure where the library that watches files is missing."""
    try:
        import watchfiles  # noqa: F401 - imported here, so that the lack of it is one line
    except ModuleNotFoundError as error:
        raise Failure(
            f"--reload needs {error.name!r}: run `pip install 'castwork[reload]'`", code=MISUSED
        ) from None


def folders_of(module: ModuleType) -> list[Path]:
    """The folders whose files make a program: the current one, and that of its package."""
    here = Path.cwd().resolve()
    folders = [here]
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    paths = [Path(path) for path in getattr(top, "__path__", ())]
    if not paths and top.__file__ is not None:
        paths = [Path(top.__file__)]
    folders += [path.resolve() for path in paths if not path.resolve().is_relative_to(here)]
    return folders


async def reload_on_change(
    folders: list[Path],
    children: Callable[[], Sequence[Child]],
    say: Callable[[str, str], None],
    *,
    patience: float,
) -> None:
    """Have processes start anew whenever a Python file changes, until cancelled.

    Args:
        folders: where the files are, and in the folders below.
        children: which processes run the program.
        say: prints a line under a name.
        patience: seconds that a process gets to stop; then it is ended.
    """
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(
        *folders, watch_filter=PythonFilter(), step=_QUIET, raise_interrupt=False
    ):
        paths = sorted(path for _, path in changes)
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        say("castwork", f"{_short(paths[0])} has changed{others}: starting again")
        for child in children():
            child.reload(patience)


def _short(path: str) -> str:
    here = Path.cwd().resolve()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
