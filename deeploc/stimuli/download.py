"""Fetch the files of a declared download; nothing is used whose sha256 is not the declared one."""

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from deeploc.errors import ContrastError
from deeploc.stimuli import tables
from deeploc.stimuli.cache import cache_root
from deeploc.stimuli.hashes import sha256_of
from deeploc.stimuli.sources import Download
from deeploc.stimuli.threads import threads
from deeploc.watch import Silent, Watch

CONNECTIONS = 6
"""How many files are fetched, or checked against their hash, at a time."""

MAX_BYTES = 50_000_000
"""Largest file that is fetched."""

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

_log = logging.getLogger(__name__)


def fetch(download: Download, base: Path, watch: Watch | None = None) -> list[Path]:
    """Return the files of a download, in the order of its manifest, from the cache or the net.

    Every file is checked each time. What is fetched is kept even where another file fails.

    Raises
    ------
    ContrastError
        If the manifest is not usable, or a file is neither cached nor to be had unharmed; names
        the address and the cache folder it could be put into by hand.
    """
    cache = cache_folder(download.url)
    hashes = declared(download, base)
    with threads(CONNECTIONS) as pool:
        sound = pool.map(lambda path: _is_sound(cache / path, hashes[path]), hashes)
        missing = [path for path, cached in zip(hashes, sound, strict=True) if not cached]
        if missing:
            lack = _Lack(download.url, {path: hashes[path] for path in missing}, cache)
            lack.refuse_offline()
            with (watch or Silent()).progress("downloading", len(missing)) as tick:
                for _ in pool.map(lack.fetch, missing):
                    tick(1)
    return [cache / path for path in hashes]


def find(download: Download, base: Path, folder: Path) -> list[Path]:
    """Return the user's own copies of the files from ``folder``, by path or by base name.

    Copies that differ from the published files are used, and told in one warning.

    Raises
    ------
    ContrastError
        If one of the files is missing.
    """
    hashes = declared(download, base)
    copies = [_own_copy(path, folder) for path in hashes]
    with threads(CONNECTIONS) as pool:
        sound = list(pool.map(_is_sound, copies, hashes.values()))
    rows = zip(copies, hashes, sound, strict=True)
    if differing := [(copy, path) for copy, path, same in rows if not same]:
        copy, path = differing[0]
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        _log.warning("%s differs from the published %s%s; it is used as it is", copy, path, more)
    return copies


def declared(download: Download, base: Path) -> dict[str, str]:
    """Return path -> sha256 of the files that the manifest declares and ``files`` chooses.

    Raises
    ------
    ContrastError
        If the manifest cannot be read, has an unusable row, or nothing in it matches.
    """
    manifest = base / str(download.manifest)
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
    host = re.sub(r"[^\w.-]", "_", urllib.parse.urlsplit(url).netloc)
    return cache_root() / "downloads" / f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


_OFFLINE = ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE")


def _is_sound(target: Path, sha256: str) -> bool:
    try:
        return target.is_file() and sha256_of(target) == sha256
    except OSError:
        return False  # why it cannot be read is told when it is to be replaced


class _Failed(Exception):
    """Why one file could not be had."""


@dataclass(frozen=True)
class _Lack:
    """The files that the cache lacks: path -> sha256."""

    url: str
    hashes: Mapping[str, str]
    cache: Path

    def refuse_offline(self) -> None:
        if all(os.environ.get(name, "0") in ("", "0") for name in _OFFLINE):
            return
        first, *others = self.hashes
        lacking = f"it and {len(others):,} more are" if others else "it is"
        with self._told(first):
            raise _Failed(f"offline mode ({' or '.join(_OFFLINE)} is set) and {lacking} not cached")

    def fetch(self, path: str) -> None:
        with self._told(path):
            target = self.cache / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(self._address(path), target, self.hashes[path])

    def _address(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{urllib.parse.quote(path)}"

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
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
        s, it = ("s", "them") if len(self.hashes) > 1 else ("", "it")
        raise ContrastError(
            f"cannot download {self._address(path)}: {reason}; put the file{s} into "
            f"{self.cache} by hand (below the same path{s}), or name a folder that holds {it} "
            "with --stimuli DIR"
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


def _own_copy(path: str, folder: Path) -> Path:
    for candidate in (folder / path, folder / PurePosixPath(path).name):
        if candidate.is_file():
            return candidate
    raise ContrastError(
        f"{PurePosixPath(path).name} is not in {folder}; it must lie there, or below it as {path}"
    )
