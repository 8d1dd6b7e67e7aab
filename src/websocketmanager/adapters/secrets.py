"""Secrets from a folder and from the environment, behind `ports.Secrets`.

The folder holds one file per secret, named like it, as Kubernetes mounts them: links to files
below `..data`, which is a link that is exchanged when the secrets change. Without such a file,
the environment variable `WEBSOCKETMANAGER_SECRET_<name>` is the secret. The folder comes first
because it can change while the process runs. A file that is there and cannot be used is an
error, never a reason to take the other value. Nothing else is ever read.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from websocketmanager.domain.secrets import SecretValues
from websocketmanager.errors import SecretMissing

PREFIX: Final = "WEBSOCKETMANAGER_SECRET_"
#: Of one file; Kubernetes allows no more.
MAX_SECRET_BYTES: Final = 1_048_576

#: Neither a path nor one of the names that Kubernetes keeps for itself.
_NAME: Final = re.compile(r"(?!\.\.)(?!\.\Z)[A-Za-z0-9_.-]{1,128}", re.ASCII)
#: The link that Kubernetes exchanges.
_DATA: Final = "..data"
#: How often a reading is repeated when the folder changed under it.
_READINGS: Final = 3


class _Unusable(Exception):
    """Why a secret has no value here, as the rest of a sentence about it."""


class FolderAndEnvironmentSecrets:
    """`ports.Secrets` of this process.

    Args:
        environ: returns the environment as it is now.
        folder: with a file per secret; None for none. It may come into being later.
    """

    def __init__(
        self, environ: Callable[[], Mapping[str, str]], folder: Path | None = None
    ) -> None:
        self._environ = environ
        self._folder = folder

    def __repr__(self) -> str:
        return f"<FolderAndEnvironmentSecrets folder={self._folder}>"

    async def read(self, names: Collection[str]) -> SecretValues:
        """Returns the present values of exactly these secrets.

        Files are read in a thread: a folder may lie on a network. Cancelling does not stop the
        thread, whose values are then dropped.

        Raises:
            SecretMissing: with every name that has no usable value; never with a value.
        """
        if not names:
            return SecretValues({})
        return await asyncio.to_thread(self._read, sorted(set(names)))

    def _read(self, names: Collection[str]) -> SecretValues:
        for _ in range(_READINGS):
            before = self._version()
            values, problems = self._read_once(names)
            # A key of yesterday with a password of today fits nowhere.
            if self._version() == before:
                break
        if problems:
            raise SecretMissing(problems)
        return SecretValues(values)

    def _version(self) -> str | None:
        """Returns what Kubernetes exchanges as a whole, if the folder is its."""
        if self._folder is None:
            return None
        try:
            return str((self._folder / _DATA).readlink())
        except OSError:
            return None

    def _read_once(self, names: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
        environ = self._environ()
        values: dict[str, str] = {}
        problems: dict[str, str] = {}
        for name in names:
            try:
                values[name] = self._value(name, environ)
            except _Unusable as problem:
                problems[name] = str(problem)
        return values, problems

    def _value(self, name: str, environ: Mapping[str, str]) -> str:
        if not _NAME.fullmatch(name):
            raise _Unusable("has a name that no secret can have")
        value = None if self._folder is None else _in_folder(self._folder, name)
        if value is None:
            value = environ.get(PREFIX + name)
        if value is None:
            folder = "" if self._folder is None else "neither in the secrets folder nor "
            raise _Unusable(f"is {folder or 'not '}in the environment as {PREFIX}{name}")
        if not value:
            raise _Unusable("is empty")
        return value


def _in_folder(folder: Path, name: str) -> str | None:
    """Returns the text of a secret's file without its last line break; None without a file."""
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise _Unusable("is a link that leads out of the secrets folder")
        data = _read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        # A dangling link is an unfinished change, not a wish for the environment's value.
        if (folder / name).is_symlink():
            raise _Unusable("is a link in the secrets folder that leads nowhere") from None
        return None
    except (OSError, RuntimeError):
        # Not chained: an operator finds the file by the secret's name. RuntimeError: links in a
        # circle, before Python 3.13.
        raise _Unusable("is in the secrets folder and cannot be read") from None
    if len(data) > MAX_SECRET_BYTES:
        raise _Unusable(f"is larger than {MAX_SECRET_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: it holds the bytes.
        raise _Unusable("is not valid UTF-8") from None
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def _read_file(path: Path) -> bytes:
    """Reads a file up to one byte more than allowed; waits for no writer of a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Unusable("is in the secrets folder and no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
