"""Unpack a zip or tar archive that somebody else made: plain files below one folder, or nothing."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from deeploc.stimuli.transfer import Failed

T = TypeVar("T")

PIECE = 1 << 16
"""Bytes that are unpacked at a time."""

MAX_FILES = 100_000
"""Most files and folders in an archive."""

MAX_UNPACKED = 2_000_000_000
"""Most bytes that an archive unpacks to."""

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name, the size that it claims, and its content in pieces."""

    name: str
    size: int
    pieces: Iterator[bytes]


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz) into the new folder ``target``.

    It is written beside ``target`` and renamed, so that the folder is complete or not there.
    Neither names that lead out of it, links and devices, nor more than `MAX_FILES` or
    `MAX_UNPACKED` are unpacked; modes and owners are not taken over.

    Raises
    ------
    Failed
        If it is damaged, no archive, or holds what is refused; names the member.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _write_all(_members(archive), beside)
        beside.rename(target)
    except _DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Failed(f"the archive is damaged or no archive: {said}") from None
    except OSError:
        if not target.is_dir():  # else another process was faster, with the same archive
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_all(members: Iterator[_Member], folder: Path) -> None:
    unpacked = 0
    for member in members:
        if unpacked + member.size > MAX_UNPACKED:
            raise Failed(f"the archive unpacks to more than {MAX_UNPACKED:,} bytes")
        path = folder / _inside(member.name)
        if path.exists():
            raise Failed(f"the archive holds {member.name!r} twice")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            unpacked += _copied(member, file, MAX_UNPACKED - unpacked)
    if not any(folder.iterdir()):
        raise Failed("the archive holds no files")


def _copied(member: _Member, file: IO[bytes], room: int) -> int:
    """Copy a member and return its true size, whatever it claims."""
    size = 0
    for piece in member.pieces:
        size += len(piece)
        if size > min(room, member.size):
            raise Failed(f"the archive's {member.name!r} is larger than it claims or is allowed")
        file.write(piece)
    if size < member.size:
        raise Failed(f"the archive's {member.name!r} is cut off")
    return size


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or not path.parts
    if leads_out or any(sign in name for sign in ("\\", ":", "\0")):
        raise Failed(f"the archive holds {name!r}, which may lead out of its folder")
    return path


def _members(archive: Path) -> Iterator[_Member]:
    return _of_zip(archive) if zipfile.is_zipfile(archive) else _of_tar(archive)


def _counted(entries: Iterable[T]) -> Iterator[T]:
    for number, entry in enumerate(entries):
        if number == MAX_FILES:
            raise Failed(f"the archive holds more than {MAX_FILES:,} files and folders")
        yield entry


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in _counted(packed.infolist()):
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packing system has none
            if kind not in (0, stat.S_IFREG):
                raise _no_file(info.filename)
            if info.flag_bits & 1:
                raise Failed(f"the archive's {info.filename!r} needs a password")
            with packed.open(info) as content:
                yield _Member(
                    info.orig_filename, info.file_size, iter(partial(content.read, PIECE), b"")
                )


def _of_tar(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as packed:
        for info in _counted(packed):
            if info.isdir():
                continue
            content = packed.extractfile(info) if info.isreg() else None
            if content is None:
                raise _no_file(info.name)
            with content:
                yield _Member(info.name, info.size, iter(partial(content.read, PIECE), b""))


def _no_file(name: str) -> Failed:
    return Failed(f"the archive holds {name!r}, which is a link or a device, not a file")
