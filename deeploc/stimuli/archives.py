"""Unpack zip and tar archives from the network: plain files below one folder, or nothing."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

MAX_FILES = 100_000
"""Most files and folders in an archive."""

MAX_UNPACKED = 2_000_000_000
"""Most bytes that an archive unpacks to."""

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


class ArchiveError(Exception):
    """An archive is damaged, or holds something that is not unpacked."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name, the size that it claims, and how it is opened.

    ``open`` is None for a link or a device. Neither library returns more than ``size`` bytes.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes] | None] | None


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz) into the new folder ``target``.

    It is unpacked beside ``target`` and renamed, so that the folder is complete or absent. Modes
    and owners are not taken over.

    Parameters
    ----------
    archive
        The file; its kind is recognized by its content.
    target
        A folder that does not exist, in one that does.

    Raises
    ------
    ArchiveError
        If it is damaged or no archive, if a name leads out of ``target``, if it holds a link, a
        device, more than `MAX_FILES` or more than `MAX_UNPACKED`; names the member.
    OSError
        If ``target`` cannot be written.
    """
    with TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as beside:
        folder = Path(beside) / target.name
        folder.mkdir()
        try:
            _extract(_members(archive), folder)
        except _DAMAGED as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ArchiveError(f"the archive cannot be unpacked: {reason}") from None
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster, with the same archive
                raise


def _extract(members: Iterator[_Member | None], folder: Path) -> None:
    unpacked = 0
    for number, member in enumerate(members):
        if number == MAX_FILES:
            raise ArchiveError(f"the archive holds more than {MAX_FILES:,} files and folders")
        if member is None:
            continue
        unpacked += member.size
        if member.size < 0 or unpacked > MAX_UNPACKED:
            raise ArchiveError(f"the archive unpacks to more than {MAX_UNPACKED:,} bytes")
        content = member.open() if member.open else None
        if content is None:
            raise ArchiveError(
                f"the archive holds {member.name!r}, which is a link or a device, not a file"
            )
        with content, _new_file(folder, member.name).open("xb") as file:
            shutil.copyfileobj(content, file)
    if not any(folder.iterdir()):
        raise ArchiveError("the archive holds no files")


def _new_file(folder: Path, name: str) -> Path:
    """Return the place of a member below ``folder``, in a folder that exists."""
    relative = PurePosixPath(name)
    leads_out = relative.is_absolute() or ".." in relative.parts or not relative.parts
    if leads_out or any(sign in name for sign in ("\\", ":", "\0")):
        raise ArchiveError(f"the archive holds {name!r}, which may lead out of its folder")
    path = folder / relative
    if path.exists():
        raise ArchiveError(f"the archive holds {name!r} twice")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _members(archive: Path) -> Iterator[_Member | None]:
    """Yield the entries of an archive as they are read, None for a folder."""
    return _in_zip(archive) if zipfile.is_zipfile(archive) else _in_tar(archive)


def _in_zip(archive: Path) -> Iterator[_Member | None]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packing system has none
            content = partial(packed.open, info) if kind in (0, stat.S_IFREG) else None
            # orig_filename: zipfile itself shortens names and replaces signs in them
            member = _Member(info.orig_filename, info.file_size, content)
            if info.flag_bits & 1:
                raise ArchiveError(f"the archive's {member.name!r} needs a password")
            yield None if info.is_dir() else member


def _in_tar(archive: Path) -> Iterator[_Member | None]:
    with tarfile.open(archive, "r:*") as packed:
        for info in packed:
            content = partial(packed.extractfile, info) if info.isreg() else None
            yield None if info.isdir() else _Member(info.name, info.size, content)
