import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.cli import main
from deeploc.core.units import Layout, Site, StatMap


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stat_map_of(t: np.ndarray, layout: Layout) -> StatMap:
    """Return a StatMap whose t is given and whose other vectors are plain."""
    ones = np.ones(layout.n_units)
    plain = {"df": 9 * ones, "p": ones / 2, "q": ones / 2, "baseline": ones / 4, "magnitude": ones}
    return StatMap(layout, t=t, d=t / 3, **plain)


@pytest.fixture
def layout() -> Layout:
    """Two kinds of site, two blocks each: 4 + 4 neurons, 6 + 6 block units."""
    return Layout(
        (
            Site("h.0.mlp.down", "mlp-neurons", 4, "input"),
            Site("h.1.mlp.down", "mlp-neurons", 4, "input"),
            Site("h.0", "block", 6),
            Site("h.1", "block", 6),
        )
    )


REAL = ("the", "cat", "dog", "sees", "chases", "a", "bird", "old", "new", "red", "under", "house")
UNREAL = ("blick", "dax", "wug", "fep", "zorp", "tam")
WORDS = REAL + UNREAL


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random GPT-2 of 2 blocks x 16, word tokenizer, no pad token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-lm")
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<eos>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", model_max_length=64
    )
    fast.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 64}
        ids = {"vocab_size": len(vocabulary), "bos_token_id": None, "eos_token_id": 1}
        GPT2LMHeadModel(GPT2Config(**size, **ids)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let transformers keep the code of checkpoints in a folder that is removed."""
    import transformers.dynamic_module_utils as library

    folder = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "HF_MODULES_CACHE", str(folder))
        patch.syspath_prepend(folder)
        yield


def write_contrast(folder: Path) -> Path:
    """Write a contrast of 12 + 12 short texts with every shipped task, sized for seconds."""
    rng = np.random.default_rng(5)
    lines = [" ".join(rng.permutation(REAL)[:5]) for _ in range(12)]
    (folder / "sentences.txt").write_text("\n".join(lines) + "\n")
    rows = ["text,kind"] + [f"{' '.join(rng.permutation(UNREAL)[:5])},N" for _ in range(12)]
    (folder / "lists.csv").write_text("\n".join(rows) + "\n")
    (folder / "pairs.jsonl").write_text(
        '{"sentence_good": "the cat sees", "sentence_bad": "cat the sees", "UID": "order"}\n'
        '{"sentence_good": "a bird sees", "sentence_bad": "bird a sees", "UID": "order"}\n'
        '{"sentence_good": "the old dog", "sentence_bad": "the dog old", "UID": "adjective"}\n'
    )
    path = folder / "words.yaml"
    path.write_text(
        """\
name: words
title: Words > non-words
modality: text
source: made up for the tests
conditions:
  sentences: {file: sentences.txt}
  lists: {file: lists.csv, column: text, where: {kind: N}}
contrast: sentences > lists
read: {sites: [mlp-neurons, block], pool: last}
select: {percent: 10}
ablate: {mode: [zero, mean], percent: [10], controls: {random: 3, bottom: true}}
evaluate:
  - perplexity
  - minimal-pairs: {grammar: {file: pairs.jsonl}}
"""
    )
    return path


@pytest.fixture
def contrast_file(tmp_path: Path) -> Path:
    """Return a contrast of 12 + 12 short texts with every shipped task, sized for seconds."""
    return write_contrast(tmp_path)


@pytest.fixture(scope="session")
def shared_contrast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same contrast as `contrast_file`, in a folder in which no test writes."""
    return write_contrast(tmp_path_factory.mktemp("contrast"))


@pytest.fixture(scope="session")
def whole_run(
    tiny_lm: Path, shared_contrast: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a whole run of `shared_contrast`, in which no test writes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    command = ["run", str(shared_contrast), "-m", f"hf:{tiny_lm}", "-o", str(folder), "-q"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def finished(whole_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the whole run, below the folder of `contrast_file`."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))
