"""What localizing costs beyond the forward pass, and what it saves: ratios from one run (Linux).

A random checkpoint of GPT-2 small's shape (12 x 768, 50,257 tokens) and 2 x 240 texts of 12 tokens:

    python benchmarks/localize.py --repeats 5

(a) the bare batched trunk forward, at its best batch size; (b) everything ``deeploc.localize``
does; (c) the whole process against one-text-at-a-time extraction with the language-model head;
(d) bfloat16 against float32; (e) peak memory with 1,000 and with 10,000 texts; (f) halves, folds
and 1,000 permutations of the labels, on top of (b), which keeps the activations. Times are medians
over interleaved repetitions; the less else runs on the machine, the more they mean. What to
expect: (b) at most 5 % above (a), (c) at least 3 times faster, (d) faster with the same top 1 %
but for near-ties, (e) less than 5 % apart, (f) at most 15 % of (b).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

import deeploc
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters.hf import load
from deeploc.analysis.activation_cache import Readings
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.reliability import reliability
from deeploc.contrast.model import Contrast
from deeploc.core.readout import Readout
from deeploc.core.units import StatMap
from deeploc.stimuli import load as load_stimuli

BATCH_SIZES = (20, 40, 80, 120, 240)
WORDS = 300

ONE_AT_A_TIME = """
import sys
import numpy as np
import torch
from scipy.stats import ttest_ind
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, *files = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
seen = {}
for i, block in enumerate(model.transformer.h):
    block.register_forward_hook(lambda m, a, out, i=i: seen.update(
        {i: (out[0] if isinstance(out, tuple) else out)[0, -1].numpy()}))
values = []
with torch.no_grad():
    for file in files:
        rows = []
        for text in open(file).read().splitlines():
            model(**tokenizer(text, return_tensors="pt"))
            rows.append(np.concatenate([seen[i] for i in sorted(seen)]))
        values.append(np.stack(rows).astype(np.float64))
t = ttest_ind(*values, equal_var=False).statistic
np.argsort(t)[::-1][: len(t) // 100]
"""

# VmHWM, because Linux starts ru_maxrss at the peak of the process that spawned this one
PEAK = """
import sys
import deeploc

contrast, folder = sys.argv[1:]
adapter = deeploc.load_model("hf:" + folder, deeploc.ModelOptions(device="cpu"))
deeploc.localize(adapter, deeploc.load_contrast(contrast))
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak.split()[1])
"""


@dataclass(frozen=True)
class Setting:
    """A checkpoint folder, a contrast file and the files with its texts."""

    model: Path
    contrast: Path
    texts: tuple[Path, Path]


def make_checkpoint(folder: Path, layers: int, width: int, vocabulary: int) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = {"<unk>": 0, "<eos>": 1} | {f"w{i}": i + 2 for i in range(2 * WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "<unk>", "eos_token": "<eos>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    size = {"n_layer": layers, "n_embd": width, "n_head": width // 64, "vocab_size": vocabulary}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=1, eos_token_id=1))
    model.save_pretrained(folder)
    return folder


def make_contrast(folder: Path, model: Path, n: int) -> Setting:
    """Write a contrast of ``n`` texts in all, twelve words each."""
    rng = np.random.default_rng(0)
    files = (folder / f"a{n}.txt", folder / f"b{n}.txt")
    for number, file in enumerate(files):
        # the two vocabularies overlap: some units prefer a condition, most do not
        rows = rng.integers(0, WORDS, (n // 2, 12)) + number * WORDS // 2
        file.write_text("\n".join(" ".join(f"w{i}" for i in row) for row in rows) + "\n")
    contrast = folder / f"bench{n}.yaml"
    contrast.write_text(
        "name: bench\ntitle: Made-up words\nmodality: text\nsource: benchmarks/localize.py\n"
        f"conditions:\n  a: {{file: {files[0].name}}}\n  b: {{file: {files[1].name}}}\n"
        "contrast: a > b\nread: {sites: [mlp-neurons, block], pool: last}\nsplit: none\n"
    )
    return Setting(model, contrast, files)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_forwards(adapter: HFAdapter, setting: Setting) -> dict[str, Callable[[], object]]:
    """Return, per batch size, the trunk forward over all texts, tokenized beforehand."""
    rows = [line for file in setting.texts for line in file.read_text().splitlines()]
    ids = torch.tensor(adapter.tokenizer(rows)["input_ids"])
    trunk = adapter.model.base_model

    def forward(size: int) -> None:
        with torch.inference_mode():
            for batch in ids.split(size):
                trunk(batch, use_cache=False)

    return {f"bare {size}": lambda size=size: forward(size) for size in BATCH_SIZES}


def interleaved(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of every work, measured in turn, after one unmeasured turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            taken = seconds(work)
            if turn:
                times[name].append(taken)
    return {name: median(values) for name, values in times.items()}


def compare_in_process(setting: Setting, repeats: int) -> None:
    contrast = deeploc.load_contrast(str(setting.contrast))
    full, half = (
        load(str(setting.model), deeploc.ModelOptions(device="cpu", dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    stat_maps: dict[str, StatMap] = {}

    def ours(name: str, adapter: HFAdapter) -> None:
        stat_maps[name] = deeploc.localize(adapter, contrast)

    works = bare_forwards(full, setting)
    works |= {"float32": lambda: ours("float32", full), "bfloat16": lambda: ours("bfloat16", half)}
    works["resampled"] = resampling(full, contrast)
    times = interleaved(works, repeats)
    best = min((name for name in times if name.startswith("bare")), key=lambda name: times[name])
    overhead = 100 * (times["float32"] / times[best] - 1)
    print(f"(a) bare trunk forward     {times[best]:7.2f} s  (batch size {best.split()[1]})")
    print(f"(b) localize               {times['float32']:7.2f} s  overhead {overhead:+.1f} %")
    ratio = times["float32"] / times["bfloat16"]
    print(f"(d) localize in bfloat16   {times['bfloat16']:7.2f} s  {ratio:.2f} x faster")
    share = 100 * times["resampled"] / times["float32"]
    print(f"(f) resampling             {times['resampled']:7.2f} s  {share:+.1f} % of (b)")
    print_overlap(stat_maps["float32"], stat_maps["bfloat16"])


def resampling(adapter: HFAdapter, contrast: Contrast) -> Callable[[], object]:
    """Return the work that follows a localization in a run, on its kept activations."""
    stimuli = load_stimuli(contrast, seed=0)
    texts = ByCondition.of(list(contrast.conditions), stimuli).stimuli
    readings = Readings(adapter, [texts])
    stat_map = deeploc.localize(adapter, contrast, stimuli, readings=readings)
    values = readings.matrix(texts, stat_map.layout, Readout.of(contrast.read))
    assert values is not None
    return lambda: reliability(contrast, stat_map, stimuli, values)


def print_overlap(full: StatMap, half: StatMap) -> None:
    a, b = (deeploc.top_percent(m, 1).selected for m in (full, half))
    edge = full.t[a].min()
    gap = np.abs(full.t[a != b] - edge).max(initial=0.0)
    moved = np.abs(half.t - full.t)
    print(
        f"    top 1 %: {(a & b).sum()} of {a.sum()} units the same; those that differ lie within "
        f"{gap:.2g} of the threshold t = {edge:.2f} (bfloat16 moves t by {np.median(moved):.2g}, "
        f"at most {moved.max():.2g})"
    )


def run_python(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} …: {done.stderr}")
    return done.stdout


def compare_processes(setting: Setting, folder: Path, repeats: int) -> None:
    runs = iter(range(1000))

    def ours() -> str:
        place = ("-m", f"hf:{setting.model}", "-o", folder / f"run{next(runs)}", "-q")
        return run_python("-m", "deeploc", "localize", setting.contrast, *place, "--device", "cpu")

    def theirs() -> str:
        return run_python("-c", ONE_AT_A_TIME, setting.model, *setting.texts)

    times = interleaved({"ours": ours, "theirs": theirs}, repeats)
    print(f"(c) deeploc localize       {times['ours']:7.2f} s  whole process")
    print(f"    one text at a time     {times['theirs']:7.2f} s  whole process, with head")
    print(f"    deeploc is             {times['theirs'] / times['ours']:7.2f} x faster")


def compare_memory(settings: Sequence[Setting]) -> None:
    peaks = [int(run_python("-c", PEAK, s.contrast, s.model)) for s in settings]
    apart = 100 * (peaks[1] / peaks[0] - 1)
    print(f"(e) peak memory            {peaks[0] / 1024:7.0f} MiB with 1,000 texts (4 x 256 model)")
    print(f"                           {peaks[1] / 1024:7.0f} MiB with 10,000: {apart:+.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="repetitions per measurement")
    parser.add_argument("--only", default="abcdef", help="which of (a) to (f) to measure")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(
            f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} CPUs"
        )
        gpt2 = make_checkpoint(folder / "gpt2", layers=12, width=768, vocabulary=50257)
        setting = make_contrast(folder, gpt2, 480)
        if set(asked.only) & set("abdf"):
            compare_in_process(setting, asked.repeats)
        if "c" in asked.only:
            compare_processes(setting, folder, asked.repeats)
        if "e" in asked.only:
            small = make_checkpoint(folder / "small", layers=4, width=256, vocabulary=1000)
            compare_memory([make_contrast(folder, small, n) for n in (1000, 10_000)])


if __name__ == "__main__":
    main()
