"""The code of docs/masks.md for other packages, executed from the page."""

import re
import runpy
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import deeploc
from deeploc.runs.mask_files import export_mask

PAGE = (Path(__file__).parents[1] / "docs" / "masks.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FOLDER = str(files("deeploc") / "reference" / "lm")
PROMPT, COMPLETION = "the dog", " sees the cat near the old house"


@pytest.fixture(scope="module")
def mask() -> deeploc.UnitMask:
    """Every ninth unit of the neurons and of the blocks of the small language model."""
    layout = deeploc.load_model("reference:lm").sites.choose(["mlp-neurons", "block"])
    selected = torch.arange(layout.n_units).numpy() % 9 == 0
    return deeploc.UnitMask(layout, selected)


@pytest.fixture
def known(
    mask: deeploc.UnitMask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Lend what the page says that its code knows, in a folder with the exported mask."""
    monkeypatch.chdir(tmp_path)
    export_mask(mask, tmp_path / "units.safetensors", "safetensors", {})
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForCausalLM.from_pretrained(FOLDER, attn_implementation="eager").eval()
    ids = tokenizer(PROMPT + COMPLETION, return_tensors="pt").input_ids
    with torch.no_grad():
        yield {"model": model, "tokenizer": tokenizer, "ids": ids, "folder": FOLDER}


def score_of(logits: torch.Tensor, ids: torch.Tensor, n: int) -> float:
    """Return the log-probability of the last tokens, in nats."""
    chosen = torch.log_softmax(logits[0, :-1].float(), -1).gather(-1, ids[0, 1:, None])
    return float(chosen[-n:].sum())


@pytest.mark.filterwarnings("ignore")  # those of other packages are theirs
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_code_of_the_page_ablates_what_deeploc_ablates(
    number: int, mask: deeploc.UnitMask, known: dict[str, Any]
) -> None:
    """PyTorch, nnsight and TransformerLens give the text the probability that deeploc gives it."""
    adapter = deeploc.load_model("reference:lm")
    request = deeploc.TextRequest(PROMPT, COMPLETION)
    (intact,) = adapter.score([request])
    with adapter.ablated(deeploc.Ablation(mask)):
        (ablated,) = adapter.score([request])
    Path("snippet.py").write_text(SNIPPETS[number])  # nnsight reads the source of its caller
    logits = runpy.run_path("snippet.py", known)["logits"]

    assert score_of(logits, known["ids"], ablated.n_tokens) == pytest.approx(
        ablated.logprob, abs=1e-3
    )
    assert abs(intact.logprob - ablated.logprob) > 0.1


def test_the_page_has_code_for_three_packages() -> None:
    """PyTorch alone, nnsight and TransformerLens; each is short."""
    assert ["NNsight" in s for s in SNIPPETS] == [False, True, False]
    assert "TransformerBridge" in SNIPPETS[2]
    assert max(snippet.count("\n") for snippet in SNIPPETS) <= 18
