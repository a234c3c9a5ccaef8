"""The files of a declared download: fetched once, and used only if they are what was declared."""

import hashlib
import http.client
import logging
import re
import urllib.error
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from deeploc.cache import OFFLINE, cache_root, offline
from deeploc.contrast.sources import Download
from deeploc.errors import ContrastError
from deeploc.progress import Silent, Watch
from deeploc.stimuli import archives, tables, transfer
from deeploc.stimuli.stimulus import sha256_of
from deeploc.stimuli.threads import threads
from deeploc.stimuli.transfer import Failed

CONNECTIONS = 6
"""How many files are fetched, or checked against their hash, at a time."""

MAX_BYTES = 50_000_000
"""Largest file of a manifest that is fetched."""

MAX_ARCHIVE = 1_000_000_000
"""Largest archive that is fetched, in bytes."""

_log = logging.getLogger(__name__)


def fetch(download: Download, base: Path, watch: Watch | None = None) -> list[Path]:
    """Return the files of a download from the cache or the net.

    Those of a manifest come in its order; every one is checked each time, and what is fetched is
    kept even where another file fails. An archive is checked, unpacked once, and its files come in
    the order of their paths.

    Raises
    ------
    ContrastError
        If the manifest is not usable, or a file is neither cached nor to be had unharmed; names
        the address and the cache folder it could be put into by hand.
    """
    cache = cache_folder(download.url)
    if download.sha256 is not None:
        return _chosen(_unpacked(download.url, download.sha256, cache), download.files)
    hashes = declared(download, base)
    with threads(CONNECTIONS) as pool:
        sound = pool.map(lambda path: _is_sound(cache / path, hashes[path]), hashes)
        missing = [path for path, cached in zip(hashes, sound, strict=True) if not cached]
        if missing:
            lack = _Lack(download.url, {path: hashes[path] for path in missing}, cache, MAX_BYTES)
            lack.refuse_offline()
            with (watch or Silent()).progress("downloading", len(missing)) as tick:
                for _ in pool.map(lack.fetch, missing):
                    tick(1)
    return [cache / path for path in hashes]


def find(download: Download, base: Path, folder: Path) -> list[Path]:
    """Return the user's own copies of the files from ``folder``, by path or by base name.

    Copies that differ from the published files are used, and told in one warning. Of an archive
    any file below ``folder`` is taken whose path matches ``files``.

    Raises
    ------
    ContrastError
        If one of the files is missing.
    """
    if download.sha256 is not None:
        return _chosen(folder, download.files)
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


def root_of(download: Download) -> Path:
    """Return the folder below which the files of a download have their paths."""
    cache = cache_folder(download.url)
    return cache / download.sha256 if download.sha256 else cache


def _chosen(root: Path, globs: Sequence[str]) -> list[Path]:
    """Return the files below ``root`` that one of the globs matches; hidden ones are left out."""
    found = sorted(path for path in root.rglob("[!.]*") if path.is_file())
    paths = {path: path.relative_to(root).as_posix() for path in found}
    chosen = [path for path in found if any(fnmatchcase(paths[path], glob) for glob in globs)]
    if not chosen:
        raise ContrastError(
            f"no file in {root} matches {', '.join(globs)}; there are {len(found):,} files, e.g. "
            f"{', '.join(list(paths.values())[:3]) or 'none'}"
        )
    return chosen


def _unpacked(url: str, sha256: str, cache: Path) -> Path:
    """Return the folder with the content of an archive, fetched and unpacked if need be."""
    target = cache / sha256
    if not target.is_dir():
        address, _, name = url.rpartition("/")
        name = urllib.parse.unquote(urllib.parse.urlsplit(name).path) or "archive"
        lack = _Lack(address, {name: sha256}, cache, MAX_ARCHIVE, url)
        if not _is_sound(cache / name, sha256):
            lack.refuse_offline()
            lack.fetch(name)
        with lack.told(name):
            archives.unpack(cache / name, target)
    return target


def _is_sound(target: Path, sha256: str) -> bool:
    try:
        return target.is_file() and sha256_of(target) == sha256
    except OSError:
        return False  # why it cannot be read is told when it is to be replaced


@dataclass(frozen=True)
class _Lack:
    """The files that the cache lacks: path -> sha256."""

    url: str
    hashes: Mapping[str, str]
    cache: Path
    most: int
    whole: str = ""  # the address, where it is not url and path

    def refuse_offline(self) -> None:
        if not offline():
            return
        first, *others = self.hashes
        lacking = f"it and {len(others):,} more are" if others else "it is"
        with self.told(first):
            raise Failed(f"offline mode ({' or '.join(OFFLINE)} is set) and {lacking} not cached")

    def fetch(self, path: str) -> None:
        with self.told(path):
            transfer.fetch(self._address(path), self.cache / path, self.hashes[path], self.most)

    def _address(self, path: str) -> str:
        return self.whole or f"{self.url.rstrip('/')}/{urllib.parse.quote(path)}"

    @contextmanager
    def told(self, path: str) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            error.close()
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except (Failed, OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        else:
            return
        s, it = ("s", "them") if len(self.hashes) > 1 else ("", "it")
        raise ContrastError(
            f"cannot download {self._address(path)}: {reason}; put the file{s} into "
            f"{self.cache} by hand (below the same path{s}), or name a folder that holds {it} "
            "with --stimuli DIR"
        )


def _own_copy(path: str, folder: Path) -> Path:
    for candidate in (folder / path, folder / PurePosixPath(path).name):
        if candidate.is_file():
            return candidate
    raise ContrastError(
        f"{PurePosixPath(path).name} is not in {folder}; it must lie there, or below it as {path}"
    )
