"""Fetch one file over HTTP: what broke off goes on, and nothing stays that is not as declared."""

import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deeploc.stimuli.stimulus import sha256_of

TIMEOUT = 30.0
"""Seconds without a byte after which a transfer is given up."""

ATTEMPTS = 5
"""How often a transfer is tried, as long as every try brings some bytes."""


class Failed(Exception):
    """Why a file could not be had."""


class _Broken(Failed):
    """The connection ended before the file did."""


def fetch(address: str, target: Path, sha256: str, most: int) -> None:
    """Put what ``address`` gives at ``target``, complete or not at all, and at most ``most`` bytes.

    It is written to a hidden ``.part`` beside ``target``. Where a transfer breaks off, that file
    stays, and the next one asks the server for the rest of it (HTTP range requests, RFC 9110,
    section 14); servers that cannot do that send the whole again.

    Raises
    ------
    Failed
        If it is too large, breaks off without end, or has not the declared sha256.
    OSError, http.client.HTTPException
        If the server cannot be asked or the file not be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _part(target, sha256) as part:
        try:
            resumed = _complete(address, part, most)
            if sha256_of(part) != sha256 and resumed:  # it went on from another file's beginning
                part.write_bytes(b"")
                _complete(address, part, most)
            if (found := sha256_of(part)) != sha256:
                size = part.stat().st_size
                raise Failed(f"its {size:,} bytes have sha256 {found}, declared is {sha256}")
            part.replace(target)
        except (_Broken, OSError, http.client.HTTPException):
            if not part.stat().st_size:
                part.unlink()
            raise
        except Failed:
            part.unlink()
            raise


@contextmanager
def _part(target: Path, sha256: str) -> Iterator[Path]:
    """Lend the file that a transfer is written to, to one process at a time."""
    shared = target.with_name(f".{target.name}.{sha256[:12]}.part")
    with shared.open("ab") as file:
        if _locked(file) and _is_at(file, shared):
            yield shared
            return
    own = shared.with_suffix(f".{os.getpid()}-{id(file):x}.part")
    try:
        own.touch()
        yield own
    finally:
        own.unlink(missing_ok=True)


def _locked(file: IO[bytes]) -> bool:
    """Return whether this process alone has the file now, until it is closed."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether nobody has moved the open file away from where it was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _complete(address: str, part: Path, most: int) -> bool:
    """Fetch what ``part`` lacks; return whether any of it was there before."""
    resumed, attempts = part.stat().st_size > 0, ATTEMPTS
    while True:
        before, attempts = part.stat().st_size, attempts - 1
        try:
            _go_on(address, part, most)
            return resumed
        except (_Broken, TimeoutError, ConnectionError):
            if not attempts or part.stat().st_size == before:
                raise
            resumed = True


def _go_on(address: str, part: Path, most: int) -> None:
    start = part.stat().st_size
    request = urllib.request.Request(address)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:  # "range not satisfiable": there is no such rest
            raise
        error.close()
        part.write_bytes(b"")
        answer = urllib.request.urlopen(address, timeout=TIMEOUT)
    with answer:
        goes_on = _begins_at(answer, start)
        with part.open("ab" if goes_on else "wb") as file:
            _copy(answer, file, start if goes_on else 0, most)


def _begins_at(answer: http.client.HTTPResponse, start: int) -> bool:
    said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and (not said or int(said[1]) != start):
        raise Failed("the server sent another part of it than was asked for")
    return answer.status == 206


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], start: int, most: int) -> None:
    promised = start + int(answer.headers.get("Content-Length") or 0)
    received = start
    while chunk := answer.read(1 << 16):
        received += len(chunk)
        if max(received, promised) > most:
            raise Failed(f"larger than {most:,} bytes")
        file.write(chunk)
    if received < promised:
        raise _Broken(f"the connection ended after {received:,} of {promised:,} bytes")
