"""The stimuli of a contrast: made of records, sampled, balanced and split into halves."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeploc.contrast.model import Contrast
from deeploc.contrast.sources import Source
from deeploc.errors import ContrastError
from deeploc.progress import ProgressReporter
from deeploc.stimuli.image_files import UnreadableImage, image_stimulus, readable_images
from deeploc.stimuli.reading import Reader, source_in_folder
from deeploc.stimuli.sampling import balanced, sample, split_half
from deeploc.stimuli.stimulus import Record, Stimulus, cell

MAX_REPORTED = 20
"""How many images that could not be read are reported one by one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StimulusSets:
    """The stimuli of each condition that localize and those that evaluate.

    ``unreadable`` are the images that were left out; ``counts`` the number of stimuli of each
    condition, including those beyond ``evaluate_limit``.
    """

    localizing: Mapping[str, Sequence[Stimulus]]
    held_out: Mapping[str, Sequence[Stimulus]]
    unreadable: Sequence[UnreadableImage] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def halves(self) -> tuple[Mapping[str, Sequence[Stimulus]], Mapping[str, Sequence[Stimulus]]]:
        """The stimuli that localize and those that evaluate."""
        return self.localizing, self.held_out

    def report_unreadable(self, reporter: ProgressReporter) -> None:
        """Report how many images could not be read, and the first `MAX_REPORTED` of them."""
        if not self.unreadable:
            return
        reporter.note(f"left out because they cannot be read: {len(self.unreadable):,}")
        for image in self.unreadable[:MAX_REPORTED]:
            reporter.note(f"  {image}")
        if (more := len(self.unreadable) - MAX_REPORTED) > 0:
            reporter.note(f"  and {more:,} more: the manifest of a run lists them all")


def sample_stimuli(
    contrast: Contrast,
    *,
    seed: int,
    limit: int | None = None,
    folder: Path | None = None,
    strict: bool = False,
    reporter: ProgressReporter | None = None,
) -> StimulusSets:
    """Return the stimuli that `load` returns, split as the contrast says.

    Parameters
    ----------
    contrast
        The contrast.
    seed
        The seed of the run.
    limit, folder, strict, reporter
        See `load`.

    Raises
    ------
    ContrastError
        As `load` does.
    """
    unreadable: list[UnreadableImage] = []
    stimuli = load(
        contrast,
        seed=seed,
        limit=limit,
        folder=folder,
        strict=strict,
        unreadable=unreadable.append,
        reporter=reporter,
    )
    counts = {name: len(group) for name, group in stimuli.items()}
    if contrast.split == "none":
        return StimulusSets(stimuli, stimuli, unreadable, counts)
    localizing, held_out = split_half(stimuli, seed, contrast.paired)
    most = contrast.evaluate_limit
    evaluated = {
        name: sample(group, most, seed, f"evaluate:{_stream(contrast, name)}")
        for name, group in held_out.items()
    }
    return StimulusSets(localizing, evaluated, unreadable, counts)


def _stream(contrast: Contrast, condition: str) -> str:
    """Return whose random numbers sample a condition: partners are kept by the same ones."""
    return contrast.paired[0] if condition in contrast.paired else condition


def load(
    contrast: Contrast,
    *,
    seed: int,
    limit: int | None = None,
    folder: Path | None = None,
    strict: bool = False,
    unreadable: Callable[[UnreadableImage], None] | None = None,
    reporter: ProgressReporter | None = None,
) -> dict[str, tuple[Stimulus, ...]]:
    """Return the stimuli of every condition, in the order of their sources.

    Images that cannot be read are left out after sampling. Last, where the contrast says
    ``balance``, its sides are made equally large (`deeploc.stimuli.sampling`).

    Parameters
    ----------
    contrast
        The contrast.
    seed
        The seed of the run; with a condition's name it decides which stimuli a limit keeps.
    limit
        At most so many stimuli per condition, beside each one's own limit; None: all.
    folder
        The user's folder (``--stimuli``), from which conditions are read instead.
    strict
        Whether an image that cannot be read is an error.
    unreadable
        Called with each image that cannot be read; default: a logging warning.
    reporter
        Reports progress; None: nothing is reported.

    Raises
    ------
    ContrastError
        If a source cannot be read, does not fit the modality, a text is empty, a condition has
        (or, balanced, keeps) fewer than two stimuli, or paired conditions differ in their number.
    """
    sampler = _Sampler(contrast, seed, limit, Reader(contrast.base, folder, reporter), strict)
    loaded = {}
    for name in contrast.conditions:
        try:
            kept, left_out = sampler.stimuli(name)
            _enough(kept, left_out)
            if left_out and name in contrast.paired:
                raise ContrastError(
                    f"{left_out[0]}, so that its partner would be alone; repair it, or remove both"
                )
        except ContrastError as error:
            message = f"condition {name!r}: {error}"
            raise contrast.error_at(("conditions", name), message) from error
        for image in left_out:
            (unreadable or _warn)(image)
        loaded[name] = tuple(kept)
    sampler.check_partners()
    return _balanced(contrast, loaded, seed) if contrast.balance else loaded


def _balanced(
    contrast: Contrast, loaded: Mapping[str, Sequence[Stimulus]], seed: int
) -> dict[str, tuple[Stimulus, ...]]:
    kept = balanced(loaded, contrast.comparison, seed)
    for name, group in kept.items():
        if len(group) < 2:
            raise contrast.error_at(
                ("balance",),
                f"balance: condition {name!r} keeps {len(group)} of {len(loaded[name])} stimuli, "
                "because the other side has so few; a variance needs at least two; add stimuli, "
                "raise limits, or leave balance out",
            )
    return kept


@dataclass(frozen=True)
class _Sampler:
    """Makes and samples the stimuli of a condition."""

    contrast: Contrast
    seed: int
    limit: int | None
    reader: Reader
    strict: bool

    def stimuli(self, name: str) -> tuple[list[Stimulus], list[UnreadableImage]]:
        """Return the stimuli of a condition, and the images that were left out."""
        source = self.contrast.conditions[name]
        rows = self._rows(name)
        read = source if self.reader.folder is None else source_in_folder(source)
        images = self.contrast.modality == "image"
        make = _image if images else self._text
        stream = _stream(self.contrast, name)
        stimuli = sample([make(row, read) for row in rows], self.limit, self.seed, stream)
        if images:
            return readable_images(name, stimuli, strict=self.strict, reporter=self.reader.reporter)
        return stimuli, []

    def _rows(self, name: str) -> list[Record]:
        source = self.contrast.conditions[name]
        return self.reader.rows(source, self.seed, _stream(self.contrast, name))

    def check_partners(self) -> None:
        """Refuse paired conditions with other numbers of rows: partners would be sampled apart."""
        rows = {
            name: (
                len(self.reader.every_row(self.contrast.conditions[name])),
                len(self._rows(name)),
            )
            for name in self.contrast.paired
        }
        if len(set(rows.values())) > 1:
            numbers = ", ".join(f"{name} {n:,} of {every:,}" for name, (every, n) in rows.items())
            raise self.contrast.error_at(
                ("statistic",),
                "paired stimuli belong together row by row, so each condition needs as many rows "
                f"and the same limit; there are {numbers}; or write `statistic: welch`",
            )

    def _text(self, row: Record, source: Source) -> Stimulus:
        columns = source.column or (_default_column(row, "text"),)
        cells = (cell(row, column).strip() for column in columns)
        text = " ".join(part for part in cells if part)
        if not text:
            raise ContrastError(
                f"{row.id}: no text in {', '.join(columns)}; fill the row, or leave it out"
            )
        return Stimulus(row.id, text.lower() if self.contrast.read.lowercase else text)


def _image(row: Record, source: Source) -> Stimulus:
    from_table = row.folder is not None
    columns = source.column or (_default_column(row, "image") if from_table else "image",)
    if len(columns) > 1:
        raise ContrastError(f"column names {', '.join(columns)}; an image is named in one column")
    if not cell(row, columns[0]).strip():
        raise ContrastError(f"{row.id}: no image in {columns[0]}; fill the row, or leave it out")
    return image_stimulus(row, columns[0])


def _default_column(row: Record, what: str) -> str:
    if what in row.fields or len(row.fields) == 1:
        return what if what in row.fields else next(iter(row.fields))
    several = " one or several" if what == "text" else " it"
    are_images = what == "text" and row.folder is None and "image" in row.fields
    raise ContrastError(
        f"{row.id}: which column is the {what}? there are {', '.join(row.fields)}; "
        f"name{several} with `column:`{', or write `modality: image`' if are_images else ''}"
    )


def _warn(image: UnreadableImage) -> None:
    _log.warning("left out: %s", image)


def _enough(stimuli: Sequence[Stimulus], left_out: Sequence[UnreadableImage]) -> None:
    if len(stimuli) < 2:
        n = len(left_out)
        first = f"{left_out[0].stimulus} {left_out[0].reason}" if n else ""
        others = f" ({n} could not be read, the first: {first})" if n else ""
        raise ContrastError(
            f"only {len(stimuli)} stimulus{others}; a variance needs at least two; add some, or "
            "raise its limit"
        )
