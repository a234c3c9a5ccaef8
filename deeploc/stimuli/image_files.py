"""Image files as stimuli: which files a pattern names, and which of them can be read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.progress import Silent, Watch
from deeploc.stimuli import image_decode as pictures
from deeploc.stimuli import tables
from deeploc.stimuli.stimulus import Record, Stimulus, sha256_of
from deeploc.stimuli.threads import threads


@dataclass(frozen=True)
class Unreadable:
    """An image that was left out: the condition it belongs to, its id, and why."""

    condition: str
    stimulus: str
    reason: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.stimulus} {self.reason}"


def find(patterns: Sequence[str], root: Path) -> list[Path]:
    """Return the image files that folders, paths or globs below ``root`` name, each once.

    A folder stands for the images directly in it, ``**`` in a glob for any depth. Both take the
    files whose names end in one of `pictures.SUFFIXES` and do not begin with a dot; a path is
    taken whatever it is called. Each pattern's files are in the order of their paths, character by
    character, on every machine.

    Raises
    ------
    ContrastError
        If one of ``patterns`` names no image file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        try:
            hits = _matches(pattern, root.absolute())
        except OSError as error:
            raise ContrastError(f"{root / pattern} cannot be read: {error.strerror}") from None
        found.update(dict.fromkeys(sorted(hits, key=lambda path: path.parts)))
    return list(found)


def records(paths: Iterable[Path], root: Path) -> list[Record]:
    """Return a record per image file: ``image``, its path, and ``label``, the name of its folder.

    Ids are paths below ``root`` with forward slashes; files elsewhere keep their whole path.
    """
    return [
        Record(_below(path, root.absolute()), {"image": str(path), "label": path.parent.name})
        for path in paths
    ]


def shown(row: Record, column: str) -> Stimulus:
    """Return the image that a record names in ``column``; a table's paths start at its folder."""
    name = row.fields[column].strip()
    if row.folder is None:  # an image file or a generated item
        return Stimulus(row.id, Path(name))
    return Stimulus(f"{row.id} ({name})", row.folder / name)


def readable(
    condition: str, stimuli: Sequence[Stimulus], *, strict: bool = False, watch: Watch | None = None
) -> tuple[list[Stimulus], list[Unreadable]]:
    """Return the images that can be read, each with the hash of its bytes, and the others.

    Both are in the order of ``stimuli``; files are read in several threads.

    Raises
    ------
    ContrastError
        If ``strict`` and an image cannot be read: the first in order.
    """
    kept, left_out = [], []
    told = (watch or Silent()).progress(f"checking {condition}", len(stimuli))
    with told as tick, threads() as pool:
        for stimulus, checked in zip(stimuli, pool.map(_checked, stimuli), strict=True):
            tick(1)
            if isinstance(checked, Stimulus):
                kept.append(checked)
            elif strict:
                raise ContrastError(
                    f"{stimulus.content} {checked}; repair or remove it, or leave --strict out"
                )
            else:
                left_out.append(Unreadable(condition, stimulus.id, checked))
    return kept, left_out


def _checked(stimulus: Stimulus) -> Stimulus | str:
    path = Path(stimulus.content)
    seen = pictures.glance(path)
    return seen if isinstance(seen, str) else replace(stimulus, sha256=sha256_of(path), look=seen)


def _matches(pattern: str, root: Path) -> list[Path]:
    exact = root / pattern
    if exact.is_dir():
        return _among(list(exact.iterdir()), f"folder {exact}")
    if exact.is_file():
        return [exact]
    hits = tables.expand(pattern, root)
    if not hits:
        raise ContrastError(
            f"no file or folder matches {pattern!r} in {root}; relative paths start at the folder "
            "of the contrast file, or at the one that --stimuli DIR names"
        )
    return _among(hits, f"matches of {pattern!r} in {root}")


def _among(hits: Sequence[Path], place: str) -> list[Path]:
    # whatever is no folder is kept, so that a broken link is told as unreadable, not passed over
    images = [
        hit
        for hit in hits
        if hit.suffix.lower() in pictures.SUFFIXES
        and not hit.name.startswith(".")
        and not hit.is_dir()
    ]
    if not images:
        folders = sum(hit.is_dir() for hit in hits)
        raise ContrastError(
            f"{place}: no image among {len(hits) - folders} files ({folders} folders); names must "
            f"end in {', '.join(pictures.SUFFIXES)}; for what lies in the folders, write e.g. "
            "'**/*.jpg'"
        )
    return images


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
