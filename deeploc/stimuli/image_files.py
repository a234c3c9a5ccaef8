"""Image files as stimuli: find them, and check that they can be read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.progress import ProgressReporter, SilentReporter
from deeploc.stimuli import tables
from deeploc.stimuli.image_decode import SUFFIXES, inspect
from deeploc.stimuli.stimulus import Record, Stimulus, sha256_of
from deeploc.stimuli.threads import threads


@dataclass(frozen=True)
class UnreadableImage:
    """An image that was left out: the condition it belongs to, its id, and why."""

    condition: str
    stimulus: str
    reason: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.stimulus} {self.reason}"


def find(patterns: Sequence[str], root: Path) -> list[Path]:
    """Return the image files that folders, paths or globs name, each once.

    A folder stands for the images directly in it, ``**`` in a glob for any depth. Both take the
    files whose names end in one of `deeploc.stimuli.image_decode.SUFFIXES` and do not begin with a
    dot; a path may have any name. Each pattern's files are in the order of their paths, character
    by character, on every machine.

    Parameters
    ----------
    patterns
        Folders, paths or globs, absolute or below ``root``.
    root
        A folder.

    Raises
    ------
    ContrastError
        If one of ``patterns`` names no image file.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        try:
            hits = _matches(pattern, root.absolute())
        except OSError as error:
            raise ContrastError(f"{root / pattern} cannot be read: {error.strerror}") from None
        files.update(dict.fromkeys(sorted(hits, key=lambda path: path.parts)))
    return list(files)


def records(paths: Iterable[Path], root: Path) -> list[Record]:
    """Return a record per image file: ``image``, its path, and ``label``, the name of its folder.

    Parameters
    ----------
    paths
        The files.
    root
        Ids are paths below this folder, with forward slashes; of other files whole paths.
    """
    return [
        Record(_below(path, root.absolute()), {"image": str(path), "label": path.parent.name})
        for path in paths
    ]


def image_stimulus(row: Record, column: str) -> Stimulus:
    """Return the image that a record names.

    Parameters
    ----------
    row
        The record; paths in a table start at its folder.
    column
        The column of the path.
    """
    name = row.fields[column].strip()
    if row.folder is None:  # an image file or a generated item
        return Stimulus(row.id, Path(name))
    return Stimulus(f"{row.id} ({name})", row.folder / name)


def readable_images(
    condition: str,
    stimuli: Sequence[Stimulus],
    *,
    strict: bool = False,
    reporter: ProgressReporter | None = None,
) -> tuple[list[Stimulus], list[UnreadableImage]]:
    """Return the images that can be read, each with its sha256 and properties, and the others.

    Both are in the order of ``stimuli``; files are read in several threads.

    Parameters
    ----------
    condition
        Its name, for messages.
    stimuli
        Images.
    strict
        Whether an image that cannot be read is an error.
    reporter
        Reports how many images have been checked.

    Raises
    ------
    ContrastError
        If ``strict`` and an image cannot be read: the first in order.
    """
    kept, left_out = [], []
    progress = (reporter or SilentReporter()).progress(f"checking {condition}", len(stimuli))
    with progress as advance, threads() as pool:
        for stimulus, checked in zip(stimuli, pool.map(_checked, stimuli), strict=True):
            advance(1)
            if isinstance(checked, Stimulus):
                kept.append(checked)
            elif strict:
                raise ContrastError(
                    f"{stimulus.content} {checked}; repair or remove it, or leave --strict out"
                )
            else:
                left_out.append(UnreadableImage(condition, stimulus.id, checked))
    return kept, left_out


def _checked(stimulus: Stimulus) -> Stimulus | str:
    path = Path(stimulus.content)
    properties = inspect(path)
    return (
        properties
        if isinstance(properties, str)
        else replace(stimulus, sha256=sha256_of(path), properties=properties)
    )


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
    # a broken link is kept, so that it is reported as unreadable
    images = [
        hit
        for hit in hits
        if hit.suffix.lower() in SUFFIXES and not hit.name.startswith(".") and not hit.is_dir()
    ]
    if not images:
        folders = sum(hit.is_dir() for hit in hits)
        raise ContrastError(
            f"{place}: no image among {len(hits) - folders} files ({folders} folders); names must "
            f"end in {', '.join(SUFFIXES)}; for images in the folders, write e.g. "
            "'**/*.jpg'"
        )
    return images


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
