"""What an ablated evaluation costs beyond its forward passes: ratios from one run.

A random checkpoint of GPT-2 small's shape (12 x 768, 50,257 tokens); perplexity of texts of 8 to
20 tokens, minimal pairs of 6 to 10, continuations of 1 to 3 after prompts of 8 to 16; the intact
model and several masks of 1 % of the units:

    python benchmarks/evaluate.py --repeats 5

(a) the bare batched forward pass, language-model head included where its logits are scored: the
very batches of (b), replayed without hooks; (b) everything ``deeploc.evaluate`` does: tasks,
ablation, log-probabilities, bootstrap intervals. Times are medians over interleaved repetitions,
the ratio is the median of the ratios of each; the less else runs on the machine, the more they
mean. What to expect: (b) at most 1.10 times (a). ``--profile`` prints where (b) spends its time.
"""

import argparse
import cProfile
import os
import pstats
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from localize import WORDS, make_checkpoint, seconds

import deeploc
from deeploc.adapters.hf import HFAdapter, load
from deeploc.core.ablation import Edit
from deeploc.core.adapter import TextRequest
from deeploc.core.modes import Modes
from deeploc.core.position_classes import PositionMoments
from deeploc.core.replacing import Donors
from deeploc.core.results import Cell
from deeploc.core.task import Task
from deeploc.core.units import VECTORS, StatMap, UnitMask
from deeploc.stimuli import Record
from deeploc.tasks.continuation import Continuation
from deeploc.tasks.minimal_pairs import MinimalPairs
from deeploc.tasks.perplexity import Perplexity

Forward = Mapping[str, Any]
"""The arguments of one call of the model."""


def make_tasks(n: int) -> list[Task]:
    """Return the three tasks over ``n`` texts in two conditions, ``n`` pairs, ``n`` prompts."""
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> str:
        return " ".join(f"w{i}" for i in rng.integers(0, WORDS, rng.integers(low, high + 1)))

    def pair(number: int) -> Record:
        words = text(6, 10).split()
        swapped = " ".join([words[1], words[0], *words[2:]])
        return Record(str(number), {"sentence_good": " ".join(words), "sentence_bad": swapped})

    texts = {name: [text(8, 20) for _ in range(n // 2)] for name in ("a", "b")}
    prompts = [TextRequest(text(8, 16), " " + text(1, 3)) for _ in range(n)]
    pairs = [pair(number) for number in range(n)]
    return [Perplexity(texts), MinimalPairs({"pairs": pairs}), Continuation({"own": prompts})]


def make_cells(adapter: HFAdapter, n_masks: int, mode: str) -> dict[Cell, Edit | None]:
    """Return the intact model and ``n_masks`` random masks of 1 % of the units.

    What takes the place of the units is random: values, or activations of 24 texts of 12 tokens.
    """
    sites = adapter.sites
    rng = np.random.default_rng(1)
    flat = StatMap(sites, **{name: np.zeros(sites.n_units) for name in VECTORS})
    moments = PositionMoments(sites, *np.abs(rng.normal(size=(4, sites.n_units))))
    shown = [
        {site.name: rng.normal(size=(12, site.n_units)).astype(np.float32) for site in sites.sites}
        for _ in range(24)
    ]
    modes = Modes(flat, lambda: moments, lambda: Donors(sites, shown, "random"))
    cells: dict[Cell, Edit | None] = {Cell(): None}
    for number in range(n_masks):
        mask = UnitMask(sites, rng.random(sites.n_units) < 0.01)
        cells[Cell("all", mode, 1.0, f"random-{number}")] = modes.edit(mode, mask)
    return cells


def recorded(adapter: HFAdapter, work: Callable[[], object]) -> list[Forward]:
    """Return the arguments of every forward pass of the model that ``work`` makes."""
    calls: list[Forward] = []

    def record(_module: object, _args: object, arguments: Forward) -> None:
        calls.append(dict(arguments))

    handle = adapter.model.register_forward_pre_hook(record, with_kwargs=True)
    try:
        work()
    finally:
        handle.remove()
    return calls


@torch.inference_mode()
def replay(adapter: HFAdapter, calls: list[Forward]) -> None:
    for arguments in calls:
        adapter.model(**arguments)


def compare(adapter: HFAdapter, calls: list[Forward], work: Callable[[], object], n: int) -> None:
    pairs = [(seconds(lambda: replay(adapter, calls)), seconds(work)) for _ in range(n + 1)][1:]
    bare, ours = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    tokens = sum(arguments["input_ids"].numel() for arguments in calls)
    print(f"    {len(calls)} forward passes, {tokens:,} tokens")
    print(f"(a) bare batched forward   {bare:7.2f} s")
    print(f"(b) evaluate               {ours:7.2f} s  {ratio:.3f} x the bare forward")


def print_profile(work: Callable[[], object]) -> None:
    """Print the share of time per file, that of built-in functions given to their callers."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    shares: Counter[str] = Counter()
    for (file, _, name), (*_, callers) in pstats.Stats(profiler).stats.items():
        for (caller, _, _), (_, _, own, _) in callers.items():
            place = caller if file == "~" else file
            where = "/".join(Path(place).parts[-3:])
            shares[f"{where} {name}" if file == "~" and "deeploc" in str(place) else where] += own
    total = sum(shares.values())
    print(f"    profile of (b), {total:.1f} s; the forward pass itself is below torch/")
    for where, own in shares.most_common(16):
        print(f"    {100 * own / total:5.1f} %  {where}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="repetitions per measurement")
    parser.add_argument("--n", type=int, default=60, help="items of each task")
    parser.add_argument("--masks", type=int, default=3, help="masks beside the intact model")
    parser.add_argument("--mode", default="zero", help="zero, mean, resample, noise or scale:G")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} CPUs"
        )
        gpt2 = make_checkpoint(Path(folder), layers=12, width=768, vocabulary=50257)
        adapter = load(str(gpt2), deeploc.ModelOptions(device="cpu", dtype="float32"))
        tasks, cells = make_tasks(options.n), make_cells(adapter, options.masks, options.mode)

        def work() -> object:
            return deeploc.evaluate(adapter, tasks, cells)

        calls = recorded(adapter, work)
        compare(adapter, calls, work, options.repeats)
        if options.profile:
            print_profile(work)


if __name__ == "__main__":
    main()
