"""Fetch the files of a declared download; nothing is used whose sha256 is not the declared one."""

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

import platformdirs

from deeploc.errors import ContrastError
from deeploc.stimuli import tables
from deeploc.stimuli.sources import Download

MAX_BYTES = 50_000_000
"""Largest file that is fetched."""

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

_log = logging.getLogger(__name__)


def fetch(download: Download, base: Path) -> list[Path]:
    """Return the files of a download, in the order of its manifest, from the cache or the net.

    Raises
    ------
    ContrastError
        If the manifest is not usable, or a file is neither cached nor to be had unharmed; names
        the address and the cache folder it could be put into by hand.
    """
    cache = cache_folder(download.url)
    return [
        _cached_or_fetched(download.url, path, sha256, cache)
        for path, sha256 in declared(download, base).items()
    ]


def find(download: Download, base: Path, folder: Path) -> list[Path]:
    """Return the user's own copies of the files from ``folder``, by path or by base name.

    A copy that differs from the published file is used, and told as a warning.

    Raises
    ------
    ContrastError
        If one of the files is missing.
    """
    return [_own_copy(path, sha256, folder) for path, sha256 in declared(download, base).items()]


def declared(download: Download, base: Path) -> dict[str, str]:
    """Return path -> sha256 of the files that the manifest declares and ``files`` chooses.

    Raises
    ------
    ContrastError
        If the manifest cannot be read, has an unusable row, or nothing in it matches.
    """
    manifest = base / download.manifest
    hashes = {}
    for row in tables.read(manifest):
        path, sha256 = row.fields.get("path", ""), row.fields.get("sha256", "").lower()
        inside = path and not path.startswith("/") and ".." not in PurePosixPath(path).parts
        if not inside or "\\" in path or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ContrastError(
                f"{row.id}: a manifest needs the columns path (relative, without '..') and sha256 "
                f"(64 hexadecimal digits); this row has {dict(row.fields)}"
            )
        hashes[path] = sha256
    chosen = {p: h for p, h in hashes.items() if any(fnmatchcase(p, g) for g in download.files)}
    if not chosen:
        raise ContrastError(f"no path of {manifest} matches {', '.join(download.files)}")
    return chosen


def cache_folder(url: str) -> Path:
    """Return where the files of ``url`` are kept; ``DEEPLOC_CACHE_DIR`` moves the whole cache."""
    said = os.environ.get("DEEPLOC_CACHE_DIR")
    root = Path(said) if said else platformdirs.user_cache_path("deeploc")
    host = re.sub(r"[^\w.-]", "_", urllib.parse.urlsplit(url).netloc)
    return root / "downloads" / f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cached_or_fetched(url: str, path: str, sha256: str, cache: Path) -> Path:
    target = cache / path
    address = f"{url.rstrip('/')}/{urllib.parse.quote(path)}"
    with _told(address, cache):
        if target.is_file() and sha256_of(target) == sha256:
            return target
        if any(os.environ.get(name, "0") not in ("", "0") for name in _OFFLINE):
            raise _Failed(f"offline mode ({' or '.join(_OFFLINE)} is set) and it is not cached")
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(address, target, sha256)
    return target


_OFFLINE = ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE")


class _Failed(Exception):
    """Why one file could not be had."""


@contextmanager
def _told(address: str, cache: Path) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
        error.close()
    except urllib.error.URLError as error:
        reason = str(error.reason)
    except (_Failed, OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
    else:
        return
    raise ContrastError(
        f"cannot download {address}: {reason}; put the file into {cache} by hand (below the same "
        "path), or name a folder that holds it with --stimuli DIR"
    )


def _download(address: str, target: Path, sha256: str) -> None:
    """Fetch beside ``target`` and rename only what has the declared hash."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, part.open("wb") as file:
            received = _copied(answer, file)
        found = sha256_of(part)
        if found != sha256:
            raise _Failed(f"its {received:,} bytes have sha256 {found}, declared is {sha256}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _copied(answer: http.client.HTTPResponse, part: IO[bytes]) -> int:
    promised = int(answer.headers.get("Content-Length") or 0)
    received = 0
    while chunk := answer.read(1 << 16):
        received += len(chunk)
        if max(received, promised) > MAX_BYTES:
            raise _Failed(f"larger than {MAX_BYTES:,} bytes")
        part.write(chunk)
    if received < promised:
        raise _Failed(f"the connection ended after {received:,} of {promised:,} bytes")
    return received


def _own_copy(path: str, sha256: str, folder: Path) -> Path:
    for candidate in (folder / path, folder / PurePosixPath(path).name):
        if candidate.is_file():
            if sha256_of(candidate) != sha256:
                _log.warning(
                    "%s differs from the published %s; it is used as it is", candidate, path
                )
            return candidate
    raise ContrastError(
        f"{PurePosixPath(path).name} is not in {folder}; it must lie there, or below it as {path}"
    )
