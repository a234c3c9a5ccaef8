"""What files and stimuli hold, as sha256: equal hashes, equal content."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from deeploc.stimuli.stimulus import Stimulus


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(stimuli: Iterable[Stimulus]) -> str:
    """Return the sha256 of what the stimuli show, in order: texts, or the sha256 of files."""
    digest = hashlib.sha256()
    for stimulus in stimuli:
        content = stimulus.content
        if isinstance(content, Path):
            data = bytes.fromhex(stimulus.sha256 or sha256_of(content))
        else:
            data = content.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
