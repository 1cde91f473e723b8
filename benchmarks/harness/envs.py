"""One virtual environment per peer, made from its pinned requirements, kept until they change."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from . import sources
from .catalog import Peer

BENCHMARKS = Path(__file__).resolve().parent.parent
ENVS = BENCHMARKS / ".envs"
PEERS = BENCHMARKS / "peers"
OF_THE_TREE = "-e ../../.."  # a requirements file with this installs the tree that it lies in


class UnavailableError(Exception):
    """The peer cannot run here; the message says why and goes into the report."""


def find_python(least: tuple[int, int]) -> str:
    """Returns an interpreter of at least this version: the running one, one on PATH, or one of
    pyenv's.

    Raises:
        UnavailableError: there is none.
    """
    if sys.version_info[:2] >= least:
        return sys.executable
    names = [f"python{least[0]}.{minor}" for minor in range(least[1], least[1] + 3)]
    candidates = [path for name in names if (path := shutil.which(name))]
    for name in names:
        candidates += map(
            str, sorted((Path.home() / ".pyenv/versions").glob(f"{name[6:]}*/bin/python"))
        )
    for path in candidates:
        # A pyenv shim is on PATH for versions that are installed but not selected, and fails: so
        # try it.
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    raise UnavailableError(f"needs Python {least[0]}.{least[1]}")


def environment(peer: Peer) -> Path:
    """Returns the environment's interpreter, making the environment first when what it is made of
    has changed.

    Raises:
        UnavailableError: no suitable Python or compiler, no such revision, or the requirements
            cannot be installed.
    """
    folder = ENVS / (f"{peer.name}-{peer.revision}" if peer.revision else peer.folder)
    try:
        _make(peer, folder)
        if peer.program:
            sources.compile_once(PEERS / peer.folder / peer.program, folder / "bin")
    except sources.SourceError as reason:
        raise UnavailableError(str(reason)) from None
    return folder / "bin" / "python"


def _make(peer: Peer, folder: Path) -> None:
    stamp, digest = folder / "requirements.sha256", _digest(peer)
    if stamp.exists() and stamp.read_text() == digest:
        return
    base = find_python(peer.python)
    print(f"making the environment of {peer.name} with {base}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    home = PEERS / peer.folder
    if peer.revision:
        tree = folder / "tree"
        sources.extract(BENCHMARKS.parent, peer.revision, tree)
        # The requirements of that time, and they install the tree that they lie in.
        home = tree / home.relative_to(BENCHMARKS.parent)
    subprocess.run([base, "-m", "venv", folder], check=True)
    _install(folder / "bin" / "python", home)
    stamp.write_text(digest)


def _digest(peer: Peer) -> str:
    text = (PEERS / peer.folder / "requirements.txt").read_bytes()
    if peer.revision:
        text = peer.revision.encode()
    elif OF_THE_TREE.encode() in text:
        text += (BENCHMARKS.parent / "pyproject.toml").read_bytes()
    return hashlib.sha256(text).hexdigest()


def _install(python: Path, home: Path) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "-r", "requirements.txt"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        errors = [line for line in said if "error" in line.lower()]
        raise UnavailableError(f"cannot install: {(errors or said)[-1].strip()}"[:300])
