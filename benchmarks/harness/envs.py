"""One virtual environment per peer, made from its pinned requirements, kept until they change."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from .catalog import Peer

BENCHMARKS = Path(__file__).resolve().parent.parent
ENVS = BENCHMARKS / ".envs"
PEERS = BENCHMARKS / "peers"


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
    """Returns the environment's interpreter, making the environment first when the requirements
    changed.

    Raises:
        UnavailableError: no suitable Python, or the requirements cannot be installed.
    """
    folder, requirements = ENVS / peer.folder, PEERS / peer.folder / "requirements.txt"
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return python
    base = find_python(peer.python)
    print(f"making the environment of {peer.folder} with {base}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", folder], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", requirements.name]
    done = subprocess.run(
        install, cwd=requirements.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        errors = [line for line in said if "error" in line.lower()]
        raise UnavailableError(f"cannot install: {(errors or said)[-1].strip()}"[:300])
    stamp.write_text(digest)
    return python
