"""Read damaged run folders: nothing but a DeeplocError may come of it.

    python scripts/fuzz_runs.py 50000

Mutates the manifest of a small run (values replaced, keys lost, types changed, bytes flipped) and
its other files, with the hashes in the manifest made to fit, and reads everything that a run folder
offers: statistics, mask, scores, effects, profile, the stimuli that drive units, reliability, what
an untrained copy has, examples, comparison, and now and then the report.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from deeploc.cli import main as deeploc
from deeploc.errors import DeeplocError
from deeploc.report.html import render
from deeploc.runs.driving_file import load_driving
from deeploc.runs.examples_file import read_examples
from deeploc.runs.files import hash_of
from deeploc.runs.folder import RunFolder

CONTRAST = """\
name: fuzz
title: Two kinds of words
modality: text
source: made for this script
conditions:
  a: {texts: [the dog sleeps, a cat sees, the bird sings, a boy runs]}
  b: {texts: [bafe lom, dax wug, fep zorp, tam blick]}
contrast: a > b
read: {sites: [mlp-neurons, block]}
ablate: {controls: {random: 2, bottom: true}}
evaluate: perplexity
"""
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**70, 1e308, float("inf"), float("nan"), "", "x", "\ud800"),
    *("selected", "top", "none", "random-0", [], {}, [[]], {"a": 1}, "a > b", "1e999", "\0"),
)
INSERTED = (b"nan", b"inf", b",", b"\n", b"\0", b'"', b"-1e400")
FILES = (
    *("mask.safetensors", "statmap.safetensors", "units.csv", "scores.csv", "profile.csv"),
    "examples.json",
    "driving-stimuli.csv",
)
REPORT_EVERY = 200


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", type=int, nargs="?", default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        original = make_run(Path(place))
        started, outcomes = time.monotonic(), Counter[str]()
        for number in range(options.n):
            damage(Path(place) / "run", original, rng)
            outcomes[read(Path(place) / "run", report=number % REPORT_EVERY == 0)] += 1
    rate = options.n / (time.monotonic() - started)
    counts = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    print(f"{options.n:,} damaged folders, {rate:.0f} per second: {counts}")
    return 0


def make_run(place: Path) -> dict[str, bytes]:
    """Make a small run; return the content of its files."""
    (place / "fuzz.yaml").write_text(CONTRAST)
    command = [
        "run",
        str(place / "fuzz.yaml"),
        "-m",
        "reference:lm",
        "-o",
        str(place / "run"),
        "-q",
    ]
    deeploc(command, standalone_mode=False)
    return {file.name: file.read_bytes() for file in (place / "run").iterdir()}


def damage(folder: Path, original: dict[str, bytes], rng: random.Random) -> None:
    """Put the original files back, and change one or a few things."""
    for name, content in original.items():
        (folder / name).write_bytes(content)
    manifest = json.loads(original["manifest.json"])
    if rng.random() < 0.3:
        name = rng.choice(FILES)
        (folder / name).write_bytes(mutated_bytes(original[name], rng))
        refit(manifest, folder)
    else:
        for _ in range(rng.randint(1, 3)):
            mutate_value(manifest, rng)
        if rng.random() < 0.3:
            refit(manifest, folder)
    text = json.dumps(manifest, default=str).encode("utf-8", "surrogatepass")
    (folder / "manifest.json").write_bytes(mutated_bytes(text, rng) if rng.random() < 0.1 else text)


def refit(manifest: Any, folder: Path) -> None:
    """Make the recorded hashes those of the files."""
    for record in manifest.values() if isinstance(manifest, dict) else ():
        files = record.get("files") if isinstance(record, dict) else None
        if isinstance(files, dict):
            record["files"] = {name: hash_of(folder / name) or "" for name in map(str, files)}


def mutate_value(value: Any, rng: random.Random) -> None:
    """Replace, remove or add something at a random place of a JSON value."""
    places: list[tuple[Any, Any]] = []

    def collect(part: Any) -> None:
        keys: Any = list(part) if isinstance(part, dict) else range(len(part))
        for key in keys:
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                collect(part[key])

    collect(value)
    if not places:
        return
    part, key = rng.choice(places)
    action: Callable[[], Any] = rng.choice(
        (
            lambda: part.__setitem__(key, rng.choice(ODD)),
            lambda: part.__delitem__(key),
            lambda: part.__setitem__(key, deepcopy(rng.choice(places)[0])),
        )
    )
    action()


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut off, or doubled."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(len(data), 1))
        match rng.randrange(4):
            case 0 if data:
                data[place % len(data)] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 40)]
            case 2:
                data[place:place] = rng.choice(
                    (b"nan", b"inf", b",", b"\n", b"\0", b'"', b"-1e400")
                )
            case _:
                del data[place:]
    return bytes(data)


def read(folder: Path, *, report: bool) -> str:
    """Read everything; return how it ended."""
    run = RunFolder(folder)
    readers = (
        *(run.read_manifest, run.read_stat_map, run.read_mask, run.read_scores),
        *(run.read_effects, run.read_profile, run.read_comparison),
        *(run.read_reliability, run.read_untrained, lambda: read_examples(run)),
        partial(load_driving, run),
    )
    refused = False
    for reader in (*readers, (lambda: render(folder)) if report else run.better):
        try:
            reader()
        except DeeplocError:
            refused = True
    return "refused" if refused else "read"


if __name__ == "__main__":
    sys.exit(main())
