"""Localize, ablate, generate and score in a tiny model of every type of causal LM.

    python scripts/text_breadth.py [TYPE ...] [--wrap] [--csv FILE]

Every type that transformers maps to `AutoModelForCausalLM` is built from its own config class
(`tiny_models.py`), saved to a folder and loaded as `hf:FOLDER`, or wrapped as it is (`--wrap`).
A type works if all of this holds, in this order:

localize   a contrast with a text longer than the context gives a finite t for every kind of site
batch      at every token, units read the same in batches of 1, 2, 3 and 8 texts of unlike length
ablate     zero ablation of half the units of a kind changes the scores of texts
read       then these units read 0 everywhere, and earlier sites and the others there as before
restore    after it, scores are those of the intact model, bit for bit
generate   a continuation of 8 tokens, the same one twice
score      the log-probability of a text is the one in the logits of transformers

A model that is not causal (XLNet) is read only: what its last site reads stands for its scores.

A row is printed per type, with + for what holds, and a line below it for the first that does not.
Each type runs in a process of its own, so that a crash is one row.
"""

import argparse
import csv
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import tiny_model, tiny_tokenizer, types
from transformers import AutoModelForCausalLM
from transformers.utils import logging

import deeploc
from deeploc.core.adapter import ScoresText
from deeploc.core.positions import ReadsPositions
from deeploc.errors import DeeplocError

CHECKS = ("built", "localize", "batch", "ablate", "read", "restore", "generate", "score")
LIMIT = 1e-2  # what rounding may do to a unit, as a share of the unit's largest activation
SECONDS = 120
TEXTS = [
    "the old woman near the window reads a long letter to her sister today",
    "a small dog that the children chased was hiding behind the red barn door",
    "the bird sang",
    "some farmers walked home",
    "three of the boys who like apples were sleeping under a tree",
    "vek blorp shint dax quel mab wug trone",
    "ploo",
    "gorp hend jask klum norv pim rilk sart tull vonk",
]
PROMPT = "the old woman reads"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("types", nargs="*", help="only these")
    parser.add_argument("--wrap", action="store_true", help="deeploc.wrap instead of hf:FOLDER")
    parser.add_argument("--csv", type=Path, help="write the table here")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    getLogger("deeploc").setLevel("ERROR")
    findings("gpt2", args.wrap, Path(tempfile.mkdtemp()))  # imports are shared by all processes
    print(f"{'type':26} {' '.join(name[:4].ljust(4) for name in CHECKS)}    s  sites")
    rows = [breadth_row(kind, args.wrap) for kind in args.types or types()]
    built = [row for row in rows if row["built"]]
    passed = [row for row in built if not row["reason"]]
    print(f"fully work: {len(passed)} of {len(built)} that can be built, of {len(rows)} types")
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    sys.exit(len(passed) < len(built))


def breadth_row(kind: str, wrap: bool) -> dict[str, Any]:
    """Return a row of the table, printed as soon as it is known."""
    start = time.perf_counter()
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=send_findings, args=(kind, wrap, theirs)
    )
    process.start()
    theirs.close()
    row: dict[str, Any] = {"type": kind, **dict.fromkeys(CHECKS, False), "sites": "", "reason": ""}
    try:
        row |= ours.recv() if ours.poll(SECONDS) else {"reason": f"no answer in {SECONDS} s"}
    except EOFError:
        process.join()
        row["reason"] = f"the process died (exit code {process.exitcode})"
    process.kill()
    process.join()
    row["seconds"] = round(time.perf_counter() - start, 1)
    marks = " ".join("+   " if row[name] else "-   " for name in CHECKS)
    print(f"{kind:26} {marks} {row['seconds']:4}  {row['sites']}", flush=True)
    if row["reason"]:
        print(f"    {row['reason']}", flush=True)
    return row


def send_findings(kind: str, wrap: bool, pipe: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(findings(kind, wrap, Path(folder)))
    pipe.close()


def findings(kind: str, wrap: bool, folder: Path) -> dict[str, Any]:
    """Return which checks hold, the kinds of site, and the reason of the first that fails."""
    found: dict[str, Any] = {}
    try:
        model = tiny_model(kind)
        found["built"] = True
        adapter = wrapped(model, kind) if wrap else loaded(model, folder)
        kinds = Counter(site.kind for site in adapter.sites.sites)
        found["sites"] = ", ".join(f"{n} {name}" for name, n in kinds.items())
        checks: dict[str, Callable[[Any], None]] = {
            "localize": check_localize,
            "batch": check_batch,
            "ablate": check_ablate,
            "read": check_read,
            "restore": check_restore,
            "generate": check_generate,
            "score": check_score,
        }
        for name, check in checks.items():
            found[name] = attempt(found, name, lambda check=check: check(adapter))
    except Exception as error:
        found["reason"] = told(error)
    return found


def attempt(found: dict[str, Any], name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception as error:
        found.setdefault("reason", f"{name}: {told(error)}")
        return False
    return True


def told(error: Exception) -> str:
    """Return an error as one line; anything but ours would be a traceback."""
    line = " ".join(str(error).split())[:300]
    ours = isinstance(error, DeeplocError | AssertionError)
    return line if ours else f"TRACEBACK {type(error).__name__}: {line}"


def wrapped(model: Any, kind: str) -> Any:
    return deeploc.wrap(model, tokenizer=tiny_tokenizer(), name=kind)


def loaded(model: Any, folder: Path) -> Any:
    """Return the model as `hf:` loads it; wrapped if transformers itself cannot load it again."""
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    try:
        AutoModelForCausalLM.from_pretrained(folder)
    except Exception:
        return wrapped(model, model.config.model_type)
    return deeploc.load_model(f"hf:{folder}", deeploc.ModelOptions(device="cpu"))


def stimuli(texts: list[str]) -> list[Any]:
    return [deeploc.Stimulus(f"text:{i}", text) for i, text in enumerate(texts)]


def check_localize(adapter: Any) -> None:
    import textwrap

    long = " ".join(TEXTS * 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contrast.yaml"
        lists = [" ".join(sorted(text.split(), key=hash)) for text in TEXTS]
        path.write_text(
            textwrap.dedent(f"""
            name: breadth
            title: Sentences > words
            source: made up
            modality: text
            conditions:
              sentences: {{texts: {[*TEXTS, long]!r}}}
              words: {{texts: {[f"{text} dax" for text in lists]!r}}}
            contrast: sentences > words
            read: {{sites: {list(adapter.sites.kinds)!r}, pool: mean, tokens: all}}
            split: none
            """)
        )
        t = deeploc.localize(adapter, deeploc.load_contrast(path)).t
    assert len(t) == adapter.sites.n_units, f"{len(t)} of {adapter.sites.n_units} units have a t"
    for kind in adapter.sites.kinds:
        own = t[adapter.sites.of_kind(kind)]
        assert np.isfinite(own).mean() > 0.5, f"most units of {kind} have no finite t"


def check_batch(adapter: Any) -> None:
    alone = positions(adapter, 1)
    lengths = [len(adapter.tokenizer(text)["input_ids"]) for text in TEXTS]
    for site in adapter.sites.sites:
        for text, n in zip(alone, lengths, strict=True):
            shape, wanted = text[site.name].shape, (n, site.n_units * site.width)
            own = site.n_positions is not None or shape[0] == 1
            assert shape == wanted or own, f"{site.name} reads {shape} of a text of {n} tokens"
    for size in (2, 3, 8):
        together = positions(adapter, size)
        worst, name = max(
            (apart(a[site.name], b[site.name]), site.name)
            for site in adapter.sites.sites
            for a, b in zip(alone, together, strict=True)
        )
        assert worst < LIMIT, f"{name} depends on the batch ({worst:.1g} of its range, {size})"
    pooled = [pool(adapter, size) for size in (1, 8)]
    assert apart(*pooled) < LIMIT, "pooled activations depend on the batch"
    scores = [score(adapter, size) for size in (1, 8)]
    assert np.allclose(*scores, rtol=1e-3, atol=1e-3), "scores depend on the batch"


def positions(adapter: Any, size: int) -> list[dict[str, np.ndarray]]:
    """Return what is read of every text at every token, in batches of at most ``size``."""
    assert isinstance(adapter, ReadsPositions)
    readout = deeploc.Readout(tokens="all")
    with batch_size(adapter, size):
        rows = dict(adapter.positions(stimuli(TEXTS), adapter.sites.scalars(), readout))
    return [rows[number] for number in range(len(TEXTS))]


def pool(adapter: Any, size: int | None) -> np.ndarray:
    values = np.zeros((len(TEXTS), adapter.sites.n_units))
    readout = deeploc.Readout(tokens="all", pool="mean")
    with batch_size(adapter, size):
        for batch in adapter.activations(stimuli(TEXTS), adapter.sites, readout):
            values[batch.indices] = batch.values
    return values


def score(adapter: Any, size: int | None = None) -> np.ndarray:
    """Return the scores of texts; of a model that is read only, what its last site reads."""
    if not isinstance(adapter, ScoresText):
        return pool(adapter, size)[:, adapter.sites.slices[adapter.sites.sites[-1].name]]
    requests = [deeploc.TextRequest("", text) for text in TEXTS]
    with batch_size(adapter, size):
        return np.array([each.logprob for each in adapter.score(requests)])


class batch_size:
    """Set the batch size of an adapter inside a context; ``None``: as it chooses."""

    def __init__(self, adapter: Any, size: int | None) -> None:
        from dataclasses import replace

        self._adapter, self._options = adapter, adapter._options
        self._inside = replace(adapter._options, batch_size=size)

    def __enter__(self) -> None:
        self._adapter._options = self._inside

    def __exit__(self, *_: object) -> None:
        self._adapter._options = self._options


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest activation of the site."""
    if a.shape != b.shape:
        return float("inf")
    scale = float(np.abs(a).max(initial=0)) + 1e-6
    return float(np.abs(a - b).max(initial=0)) / scale


def chosen(adapter: Any, kind: str) -> np.ndarray:
    """Return half the units of the middle site of a kind."""
    layout = adapter.sites
    sites = [site for site in layout.sites if site.kind == kind]
    site = sites[len(sites) // 2]
    units = np.zeros(layout.n_units, dtype=bool)
    start = layout.slices[site.name].start
    units[start : start + site.n_units : 2] = True
    return units


def silenced(adapter: Any, kind: str) -> Any:
    mask = deeploc.UnitMask(adapter.sites, chosen(adapter, kind))
    return adapter.ablated(deeploc.Ablation(mask))


def check_ablate(adapter: Any) -> None:
    intact = score(adapter)
    for kind in adapter.sites.kinds:
        with silenced(adapter, kind):
            assert not np.array_equal(score(adapter), intact), f"silencing {kind} changes nothing"


def check_read(adapter: Any) -> None:
    intact = positions(adapter, 8)
    layout = adapter.sites
    for kind in layout.kinds:
        units = deeploc.UnitMask(layout, chosen(adapter, kind))
        with silenced(adapter, kind):
            after = positions(adapter, 8)
        for before, now in zip(intact, after, strict=True):
            check_edit(layout, units, before, now)


def check_edit(
    layout: Any, mask: Any, before: dict[str, np.ndarray], now: dict[str, np.ndarray]
) -> None:
    """Check one text: sites up to the edited one."""
    for site in layout.sites:
        own = np.repeat(mask.at(site.name), site.width)
        if not own.any():
            same = np.array_equal(before[site.name], now[site.name])
            assert same, f"{site.name} comes before the edited site, but changed"
            continue
        assert not now[site.name][:, own].any(), f"silenced units of {site.name} do not read 0"
        others = np.array_equal(before[site.name][:, ~own], now[site.name][:, ~own])
        assert others, f"units of {site.name} that were not silenced changed"
        return


def check_restore(adapter: Any) -> None:
    intact = score(adapter)
    hooks = n_hooks(adapter)
    for kind in adapter.sites.kinds:
        with silenced(adapter, kind):
            score(adapter)
    assert np.array_equal(score(adapter), intact), "scores are not those of the intact model"
    assert n_hooks(adapter) == hooks, "hooks are left behind"


def n_hooks(adapter: Any) -> int:
    modules = adapter.model.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def check_generate(adapter: Any) -> None:
    if not hasattr(adapter, "generate"):  # a model that is not causal
        return
    sampling = deeploc.Sampling(max_tokens=8)
    first, second = (adapter.generate(PROMPT, sampling) for _ in range(2))
    assert first == second, f"generates {first!r}, then {second!r}"


def check_score(adapter: Any) -> None:
    if not hasattr(adapter, "generate"):
        return
    ids = torch.tensor([adapter.tokenizer(TEXTS[0])["input_ids"]])
    with torch.inference_mode():
        logits = adapter.model(input_ids=ids[:, :-1], **without_cache(adapter.model)).logits
    by_hand = logits.float().log_softmax(-1)[0, torch.arange(ids.shape[1] - 1), ids[0, 1:]].sum()
    ours = score(adapter)[0]
    assert np.isfinite(ours), f"the score of a text is {ours}"
    assert abs(ours - float(by_hand)) < 1e-3 * abs(ours), f"{ours:.4f}, by hand {by_hand:.4f}"


def without_cache(model: Any) -> dict[str, Any]:
    import inspect

    takes = inspect.signature(model.forward).parameters
    return {"use_cache": False} if "use_cache" in takes else {}


if __name__ == "__main__":
    main()
