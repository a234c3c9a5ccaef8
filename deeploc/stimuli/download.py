"""The files of a declared download: downloaded once, and used only with the declared sha256."""

import hashlib
import logging
import re
import urllib.parse
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from deeploc.cache import cache_root
from deeploc.contrast.sources import Download
from deeploc.errors import ContrastError
from deeploc.progress import ProgressReporter
from deeploc.stimuli import archives, tables
from deeploc.stimuli.threads import threads
from deeploc.stimuli.transfer import CONNECTIONS, ensure_cached, failure, is_intact

MAX_BYTES = 50_000_000
"""Largest file of a manifest that is downloaded."""

MAX_ARCHIVE = 1_000_000_000
"""Largest archive that is downloaded, in bytes."""

_log = logging.getLogger(__name__)


def fetch(download: Download, base: Path, reporter: ProgressReporter | None = None) -> list[Path]:
    """Return the files of a download from the cache or the network.

    Those of a manifest come in its order; every one is checked each time, and what is downloaded
    is kept even where another file fails. An archive is checked and unpacked once, and its files
    come in the order of their paths.

    Parameters
    ----------
    download
        The source, as the contrast file declares it.
    base
        The folder that the path of the manifest starts from.
    reporter
        Reports how many files have been downloaded; default: nothing is reported.

    Raises
    ------
    ContrastError
        If the manifest is not usable, or a file is not cached and its download failed; names the
        address and the cache folder it could be put into by hand.
    """
    cache = cache_folder(download.url)
    if download.sha256 is not None:
        return _matching(_unpacked(download.url, download.sha256, cache, reporter), download.files)
    hashes = declared(download, base)
    root = download.url.rstrip("/")
    urls = {path: f"{root}/{urllib.parse.quote(path)}" for path in hashes}
    ensure_cached(cache, hashes, urls, max_bytes=MAX_BYTES, reporter=reporter)
    return [cache / path for path in hashes]


def find(download: Download, base: Path, folder: Path) -> list[Path]:
    """Return the user's own files of a download from ``folder``, by path or by base name.

    Files that differ from the published ones are used, and reported in one warning. Of an archive
    any file below ``folder`` is taken whose path matches ``files``.

    Parameters
    ----------
    download
        The source, as the contrast file declares it.
    base
        The folder that the path of the manifest starts from.
    folder
        The user's folder.

    Raises
    ------
    ContrastError
        If one of the files is missing.
    """
    if download.sha256 is not None:
        return _matching(folder, download.files)
    hashes = declared(download, base)
    own = [_own_file(path, folder) for path in hashes]
    with threads(CONNECTIONS) as pool:
        intact = list(pool.map(is_intact, own, hashes.values()))
    rows = zip(own, hashes, intact, strict=True)
    if differing := [(file, path) for file, path, is_intact in rows if not is_intact]:
        file, path = differing[0]
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        _log.warning("%s differs from the published %s%s; it is used as it is", file, path, more)
    return own


def declared(download: Download, base: Path) -> dict[str, str]:
    """Return path -> sha256 of the files that the manifest declares and ``files`` matches.

    Parameters
    ----------
    download
        The source, as the contrast file declares it.
    base
        The folder that the path of the manifest starts from.

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


def _matching(root: Path, globs: Sequence[str]) -> list[Path]:
    """Return the files below ``root`` that one of the globs matches; hidden ones are left out."""
    files = sorted(path for path in root.rglob("[!.]*") if path.is_file())
    names = {path: path.relative_to(root).as_posix() for path in files}
    matching = [path for path in files if any(fnmatchcase(names[path], glob) for glob in globs)]
    if not matching:
        raise ContrastError(
            f"no file in {root} matches {', '.join(globs)}; there are {len(files):,} files, e.g. "
            f"{', '.join(list(names.values())[:3]) or 'none'}"
        )
    return matching


def _unpacked(url: str, sha256: str, cache: Path, reporter: ProgressReporter | None) -> Path:
    """Return the folder with the content of an archive, downloaded and unpacked if need be."""
    target = cache / sha256
    if not target.is_dir():
        name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
        name = name or "archive"
        ensure_cached(cache, {name: sha256}, {name: url}, max_bytes=MAX_ARCHIVE, reporter=reporter)
        try:
            archives.unpack(cache / name, target)
        except (archives.ArchiveError, OSError) as error:
            raise failure(url, cache, str(error)) from None
    return target


def _own_file(path: str, folder: Path) -> Path:
    for candidate in (folder / path, folder / PurePosixPath(path).name):
        if candidate.is_file():
            return candidate
    raise ContrastError(
        f"{PurePosixPath(path).name} is not in {folder}; it must lie there, or below it as {path}"
    )
