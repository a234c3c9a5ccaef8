"""Download files through pooch: several at a time, checked, each complete or absent."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from deeploc.cache import OFFLINE, offline
from deeploc.errors import ContrastError
from deeploc.progress import ProgressReporter, SilentReporter
from deeploc.stimuli.stimulus import sha256_of
from deeploc.stimuli.threads import threads

# pooch is imported where it is needed: most commands download nothing

CONNECTIONS = 6
"""How many files are downloaded, or checked against their hash, at a time."""

RETRIES = 2
"""How often a transfer that broke off, or brought other bytes, is repeated from its beginning."""

TIMEOUT = 30.0
"""Seconds without a byte after which a transfer is given up."""

_CHUNK = 1 << 16
_REPEATABLE = (408, 425, 429)  # HTTP: timeout, too early, too many requests


class _Refused(Exception):
    """Why a transfer is not continued, nor repeated."""


def is_intact(path: Path, sha256: str) -> bool:
    """Return whether a file exists, can be read and has a sha256.

    Parameters
    ----------
    path
        The file.
    sha256
        In hexadecimal digits.
    """
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False  # the reason is reported when the file is to be replaced


def ensure_cached(
    cache: Path,
    hashes: Mapping[str, str],
    urls: Mapping[str, str],
    *,
    max_bytes: int,
    reporter: ProgressReporter | None,
) -> None:
    """Download the files that the cache lacks or holds damaged, several at a time.

    pooch writes each file beside its place and renames it if its hash is right. A transfer that
    broke off is repeated from its beginning, up to `RETRIES` times.

    Parameters
    ----------
    cache
        The folder that the files are kept in.
    hashes
        Path below ``cache`` -> sha256, in hexadecimal digits.
    urls
        Path below ``cache`` -> address.
    max_bytes
        Size of the largest file that is downloaded.
    reporter
        Reports how many files have been downloaded; None: nothing is reported.

    Raises
    ------
    ContrastError
        If a file is not cached and its download failed, or is forbidden (`deeploc.cache.offline`).
    """
    with threads(CONNECTIONS) as pool:
        intact = pool.map(lambda path: is_intact(cache / path, hashes[path]), hashes)
        missing = [path for path, kept in zip(hashes, intact, strict=True) if not kept]
        if not missing:
            return
        if offline():
            lacking = f"it and {len(missing) - 1:,} more are" if len(missing) > 1 else "it is"
            reason = f"offline mode ({' or '.join(OFFLINE)} is set) and {lacking} not cached"
            raise failure(urls[missing[0]], cache, reason, several=len(missing) > 1)
        registry = {path: hashes[path] for path in missing}
        store = import_module("pooch").create(cache, "", registry=registry, urls=urls)
        store.retry_if_failed = RETRIES
        with (
            _no_pooch_log(),
            (reporter or SilentReporter()).progress("downloading", len(missing)) as tick,
        ):
            for _ in pool.map(partial(_download, store, max_bytes), missing):
                tick(1)


def _download(store: Any, max_bytes: int, path: str) -> None:
    """Download one file of a `pooch.Pooch` into its folder."""
    try:
        # pooch makes folders, too, but two threads must not make the same one
        (store.abspath / path).parent.mkdir(parents=True, exist_ok=True)
        store.fetch(path, downloader=partial(_transfer, max_bytes))
    except (_Refused, OSError, ValueError) as error:  # errors of requests are OSErrors
        reason, several = _reason(error), len(store.registry) > 1
        raise failure(store.get_url(path), store.abspath, reason, several=several) from None


def _transfer(max_bytes: int, url: str, output: str, _store: Any) -> None:
    """Write what ``url`` sends to a file: a downloader for pooch that knows what not to repeat."""

    def check(response: Any, *_: Any, **__: Any) -> None:
        cleanup.callback(response.close)  # pooch leaves that to the garbage collector
        if 400 <= response.status_code < 500 and response.status_code not in _REPEATABLE:
            raise _Refused(f"HTTP {response.status_code} {response.reason}")
        if int(response.headers.get("Content-Length", 0)) > max_bytes:
            raise _Refused(f"larger than {max_bytes:,} bytes")

    download = import_module("pooch").HTTPDownloader(
        chunk_size=_CHUNK,
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},  # else requests would unpack a served .gz
        hooks={"response": check},
    )
    with ExitStack() as cleanup, Path(output).open("wb") as file:
        download(url, _LimitedFile(file, max_bytes), None)


@dataclass(frozen=True)
class _LimitedFile:
    """A file that pooch writes to, whatever size the server announced."""

    file: IO[bytes]
    max_bytes: int

    def write(self, chunk: bytes) -> None:
        if self.file.tell() + len(chunk) > self.max_bytes:
            raise _Refused(f"larger than {self.max_bytes:,} bytes")
        self.file.write(chunk)

    def flush(self) -> None:
        """Leave it to the file when it writes: pooch asks after every chunk."""


def _reason(error: BaseException) -> str:
    """Return why a transfer failed, in one line, without what urllib3 wraps around it."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    while error.__context__ is not None:
        error = error.__context__
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason.partition(". Deleted download")[0]  # pooch's remarks on a wrong hash


def failure(url: str, cache: Path, reason: str, *, several: bool = False) -> ContrastError:
    """Return the error for a download that failed, with what a user can do.

    Parameters
    ----------
    url
        The address.
    cache
        The folder that the file can be put into by hand.
    reason
        Why it failed, in one line.
    several
        Whether other files are missing, too.
    """
    s, it = ("s", "them") if several else ("", "it")
    return ContrastError(
        f"cannot download {url}: {reason}; put the file{s} into {cache} by hand (below the same "
        f"path{s}), or name a folder that holds {it} with --stimuli DIR"
    )


@contextmanager
def _no_pooch_log() -> Iterator[None]:
    """Keep pooch from writing a line per file to stderr: progress is reported instead."""
    logger = import_module("pooch").get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
