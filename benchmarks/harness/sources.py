"""Peers that are made from source: an earlier revision of this repository, and programs in C."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path


class SourceError(Exception):
    """It cannot be made here; the message says why."""


def extract(repository: Path, revision: str, folder: Path) -> None:
    """Puts the files of a revision into `folder`, without touching the working tree.

    Raises:
        SourceError: there is no such revision here, or no repository.
    """
    with tempfile.TemporaryFile() as packed:
        done = subprocess.run(
            ["git", "archive", "--format=tar", revision],
            cwd=repository,
            stdout=packed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no message"]
            raise SourceError(f"no revision {revision} here: {said[-1]}"[:300])
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")


def compile_once(source: Path, folder: Path) -> Path:
    """Compiles a program of one file with the machine's C compiler, unless that was done.

    Raises:
        SourceError: there is no compiler, or it does not take the source.
    """
    program, stamp = folder / source.stem, folder / f"{source.stem}.sha256"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if program.exists() and stamp.exists() and stamp.read_text() == digest:
        return program
    name = os.environ.get("CC", "cc")
    compiler = shutil.which(name)
    if compiler is None:
        raise SourceError(f"needs a C compiler, and there is no {name} on PATH")
    done = subprocess.run(
        [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise SourceError(f"{source.name} does not compile: {said[0]}"[:300])
    stamp.write_text(digest)
    return program
