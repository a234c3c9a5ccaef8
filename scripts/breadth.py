"""Check a tiny model of every type of a family of transformers with the conformance kit.

    python scripts/breadth.py causal|masked|seq2seq|images [TYPE ...]
                              [--sizes even] [--wrap] [--csv FILE]

Every type is built from its own config class (`breadth_models.py`), saved, and loaded as
`hf:FOLDER`, or wrapped as it is (`--wrap`). Then all checks of `deeploc.testing` are made, and
those of `breadth_checks.py`. Each column of the table stands for some of them:

localize   sites and their description; every stimulus is read, in whatever order; a contrast of
           texts, one longer than the context, or of images gives a finite t for every kind of site
batch      alone and among others, at every position, a stimulus reads and scores the same
ablate     a change at every site takes effect, reaches what comes after it, and nothing else
read-back  ablated units read as what they are held at
restore    after it, also after an exception, all is as before: activations, scores, hooks
generate   a continuation is new text, the same one for the same seed
score      scores of texts are those in the logits of transformers; predictions of images

`+` holds, `-` does not, `.` the type does not have the ability, `?` was not tried because
something before it failed. A line below a row tells the first failure. Each type runs in a process
of its own, so that a crash is one row. Exit code 1 if a type that can be built fails. Types that
take videos are no image types: they are named in one line and not counted.
"""

import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from logging import getLogger
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from breadth_checks import CHECKED, COLUMNS, column_marks
from breadth_models import FAMILIES, Family, loaded
from tiny_sizes import SIZES
from transformers.utils import logging

from deeploc.adapters._text import reading
from deeploc.core.adapter import ModelOptions
from deeploc.errors import DeeplocError
from deeploc.testing import Outcome, run_checks

SECONDS = 240
"""For one type."""

HEADER = f"{'type':24} {' '.join(COLUMNS)}   s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("types", nargs="*", help="only these")
    parser.add_argument("--sizes", choices=SIZES, default="unlike", help="how wide the models are")
    parser.add_argument("--wrap", action="store_true", help="deeploc.wrap instead of hf:FOLDER")
    parser.add_argument("--csv", type=Path, help="write the table here")
    args = parser.parse_intermixed_args()
    quiet()
    family = FAMILIES[args.family](args.sizes, args.wrap)
    kinds = args.types or family.types
    videos = [kind for kind in kinds if family.takes_videos(kind)]
    import_all(family)
    print(HEADER)
    rows = [breadth_row(family, kind) for kind in kinds if kind not in videos]
    if videos:
        print(f"video: {', '.join(videos)}")
    print_totals(rows)
    if args.csv:
        write_csv(args.csv, rows)
    sys.exit(any(row["built"] and row["reason"] for row in rows))


def quiet() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    getLogger("deeploc").setLevel("ERROR")
    torch.set_num_threads(1)
    if not hasattr(reading, "PADDING"):
        raise SystemExit("the share of padding in a batch is no longer in _text/reading.py")
    reading.PADDING = 1.0  # all texts in one padded batch, where a model can pad


def import_all(family: Family) -> None:
    """Make one model here, so that its imports are shared by all processes."""
    with tempfile.TemporaryDirectory() as folder:
        list(findings(family, family.types[0], Path(folder)))


def breadth_row(family: Family, kind: str) -> dict[str, Any]:
    """Return a row of the table, printed as soon as it is known."""
    start = time.perf_counter()
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send_findings, args=(family, kind, theirs))
    process.start()
    theirs.close()
    row: dict[str, Any] = {"type": kind, "built": True, **dict.fromkeys(COLUMNS, "?")}
    row |= {"sites": "", "reason": ""}
    tried, end = received(ours)
    process.kill()
    process.join()
    row |= chosen(tried) if tried else {"reason": end.format(process.exitcode)}
    row["seconds"] = round(time.perf_counter() - start, 1)
    print_row(row)
    return row


def received(pipe: Any) -> tuple[list[dict[str, Any]], str]:
    """Return what is found within the time, and why nothing more is."""
    tried: list[dict[str, Any]] = []
    deadline = time.monotonic() + SECONDS
    try:
        while pipe.poll(max(deadline - time.monotonic(), 0)):
            tried.append(pipe.recv())
    except EOFError:
        return tried, "the process died (exit code {})"
    return tried, f"no answer in {SECONDS} s"


def send_findings(family: Family, kind: str, pipe: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for found in findings(family, kind, Path(folder)):
            pipe.send(found)
    pipe.close()


def findings(family: Family, kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what holds of each model of a type, up to the first of which all holds."""
    for number, build in enumerate(family.builds):
        place = folder / str(number)
        place.mkdir()
        try:
            model = build(kind)
        except Exception as error:  # whatever a model class raises
            yield {"built": False, "reason": f"cannot be built: {told(error)}"}
            continue
        found = checked(family, model, place)
        yield found
        if not found["reason"]:
            return


def chosen(tried: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what tells most about a type: a model of which all holds, else one that is built."""
    built = [found for found in tried if found.get("built", True)]
    return next((found for found in built if not found["reason"]), (built or list(tried))[0])


def checked(family: Family, model: Any, folder: Path) -> dict[str, Any]:
    """Return what holds of a model."""
    options = ModelOptions(device="cpu", modality=family.modality)
    try:
        stimuli, load = family.stimuli(folder), loaded(family, model, folder)
        adapter = load(options)
    except Exception as error:
        return {"localize": "-", "reason": told(error)}
    kinds = [site.kind for site in adapter.sites.sites]
    sites = ", ".join(f"{kinds.count(kind)} {kind}" for kind in adapter.sites.kinds)
    outcomes = run_checks(adapter, stimuli, load=load, options=options, checks=CHECKED)
    return {"sites": sites, "reason": first_failure(outcomes), **column_marks(outcomes)}


def first_failure(outcomes: Sequence[Outcome]) -> str:
    failed = (f"{o.name}: {o.reason}" for o in outcomes if o.state == "failed")
    return next(failed, "")


def told(error: Exception) -> str:
    """Return an error as one line; anything but ours would be a traceback."""
    line = " ".join(str(error).split())[:300]
    ours = isinstance(error, DeeplocError)
    return line if ours else f"TRACEBACK {type(error).__name__}: {line}"


def print_row(row: dict[str, Any]) -> None:
    marks = " ".join(str(row[name]).ljust(len(name)) for name in COLUMNS)
    print(f"{row['type']:24} {marks} {row['seconds']:3.0f}", flush=True)
    if row["reason"]:
        print(f"    {row['reason']}", flush=True)


def print_totals(rows: Sequence[dict[str, Any]]) -> None:
    """Print how many types have each column, and how many work fully."""
    built = [row for row in rows if row["built"]]
    counts = [sum(row[name] == "+" for row in built) for name in COLUMNS]
    marks = " ".join(str(n).ljust(len(name)) for n, name in zip(counts, COLUMNS, strict=True))
    print(f"{'hold in':24} {marks}")
    works = sum(not row["reason"] for row in built)
    print(f"fully work: {works} of {len(built)} that can be built, of {len(rows)} types")


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
