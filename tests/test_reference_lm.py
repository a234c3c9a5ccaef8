import importlib.util
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as TokenizerBase

from deeploc.adapters import reference
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError
from deeploc.generators.english.minimal_pairs import SUITES
from deeploc.generators.registry import generate

FOLDER = str(files("deeploc") / "reference" / "lm")
SEED = 2024  # not the one the training script reports on


@pytest.fixture(scope="module")
def abilities() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "reference_lm_abilities.py"
    spec = importlib.util.spec_from_file_location("reference_lm_abilities", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True).eval()


@pytest.mark.parametrize("uid", SUITES)
def test_it_tells_grammatical_from_ungrammatical(
    uid: str, model: PreTrainedModel, tokenizer: TokenizerBase, abilities: ModuleType
) -> None:
    """No suite of held-out minimal pairs lags behind: at least 90 % of each are right."""
    pairs = generate("minimal-pairs", 100, SEED, {"suite": uid})

    assert abilities.pair_accuracy(model, tokenizer, pairs) >= 0.90


def test_it_knows_its_grammar(
    model: PreTrainedModel, tokenizer: TokenizerBase, abilities: ModuleType
) -> None:
    """At least 95 % of held-out minimal pairs are right over all suites."""
    pairs = generate("minimal-pairs", 800, SEED, {})

    assert abilities.pair_accuracy(model, tokenizer, pairs) >= 0.95


@pytest.mark.parametrize("task", ["arithmetic", "copying"])
def test_it_calculates_and_copies(
    task: str, model: PreTrainedModel, tokenizer: TokenizerBase, abilities: ModuleType
) -> None:
    """At least 90 % of held-out completions are exactly what greedy decoding says."""
    match, nll = abilities.continuation(model, tokenizer, generate(task, 200, SEED, {}))

    assert match >= 0.90
    assert nll < 0.2


def test_it_prefers_sentences_to_their_reversal(
    model: PreTrainedModel, tokenizer: TokenizerBase, abilities: ModuleType
) -> None:
    """Word order matters: reversed sentences are far less probable."""
    texts = [record["text"] for record in generate("sentences", 50, SEED, {})]
    backwards = [" ".join(reversed(text.split())) for text in texts]

    def nll(lines: list[str]) -> float:
        logprobs, _, mask = abilities.score(model, tokenizer, lines)
        return float(-(logprobs * mask).sum() / mask.sum())

    assert nll(backwards) > nll(texts) + 2


def test_greedy_generation_continues_a_prompt(
    model: PreTrainedModel, tokenizer: TokenizerBase
) -> None:
    """``copy bafe lom :`` is continued and ended by generate itself."""
    inputs = tokenizer("copy bafe lom :", return_tensors="pt")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=20)

    text = tokenizer.decode(output[0], skip_special_tokens=True)
    assert text == "copy bafe lom : bafe lom"


@pytest.mark.parametrize("text", ["12 + 7 = 19", "naïve café, 東京 🙂", "a\n\tb  c", "x" * 50])
def test_the_tokenizer_encodes_any_text(text: str, tokenizer: TokenizerBase) -> None:
    """Nothing is unknown: decoding gives the text back, in lower case."""
    ids = tokenizer(text)["input_ids"]

    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


def test_digits_are_single_tokens(tokenizer: TokenizerBase) -> None:
    """A number is spelt digit by digit, so that sums are learnable."""
    assert tokenizer.tokenize("407")[-3:] == ["4", "0", "7"]


def test_the_prompt_is_a_prefix_of_the_whole_text(tokenizer: TokenizerBase) -> None:
    """Tokens of prompt and completion, apart and together, are the same."""
    for record in generate("arithmetic", 20, 0, {}) + generate("copying", 20, 0, {}):
        prompt = tokenizer(record["prompt"])["input_ids"]
        completion = tokenizer(record["completion"], add_special_tokens=False)["input_ids"]
        assert tokenizer(record["text"])["input_ids"] == prompt + completion


def test_it_is_small() -> None:
    """All its files together stay under 3 MB."""
    sizes = [path.stat().st_size for path in Path(FOLDER).iterdir()]

    assert sum(sizes) < 3_000_000


def test_the_adapter_loads_it() -> None:
    """``reference:lm`` has a block and its MLP neurons in each of four layers."""
    adapter = reference.load("lm", ModelOptions(device="cpu"))
    kinds = [site.kind for site in adapter.sites.sites]

    assert kinds.count("block") == kinds.count("mlp-neurons") == 4


def test_an_unknown_name_is_told() -> None:
    """The error names the nearest reference model."""
    with pytest.raises(AdapterError, match=r"called 'lmm'; did you mean reference:lm\?"):
        reference.load("lmm", ModelOptions())


def test_it_is_called_by_its_address_wherever_it_is_installed() -> None:
    """A run folder does not name the place of the installation as its model."""
    assert reference.load("lm", ModelOptions()).identity["model"] == "reference:lm"
