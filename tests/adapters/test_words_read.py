"""Which characters of a text are read, as the tokenizer's offsets tell."""

import pytest
from transformers import ByT5Tokenizer

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.core.readout import Readout
from deeploc.stimuli import Stimulus

from .conftest import model_of, tokenizer_of

TEXTS = [
    "the old woman near the window",
    "  blorp   vek-shint!  ",
    "one",
    "two naïve 東京 words\nand a line",
    "walked \N{CLAPPING HANDS SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-6} ",
]


def read_of(
    texts: list[str], readout: Readout, *, bos: bool, eos: bool = False
) -> list[str] | None:
    adapter = HFAdapter(model_of("gpt2", vocab_size=400), tokenizer_of(bos=bos, eos=eos), "gpt2")
    stimuli = [Stimulus(str(n), text) for n, text in enumerate(texts)]
    spans = adapter.tokenization(stimuli, readout).read
    assert spans is not None
    return [text[start:end] for text, (start, end) in zip(texts, spans, strict=True)]


@pytest.mark.parametrize("bos", [False, True])
def test_the_last_word_is_read(bos: bool) -> None:
    """However many tokens it has: all of them that no white space separates."""
    assert read_of(TEXTS, Readout(pool="last"), bos=bos) == [text.split()[-1] for text in TEXTS]


def test_a_truncated_text_is_read_at_the_last_word_that_is_kept() -> None:
    """Every limit reads a whole word of the text, and longer limits later ones."""
    words = TEXTS[0].split()
    places = []
    for limit in range(4, 25):
        (word,) = read_of(TEXTS[:1], Readout(pool="last", max_tokens=limit), bos=True) or [""]
        assert word in words
        places.append(len(words) - 1 - words[::-1].index(word) if word != "the" else -1)
    seen = [place for place in places if place >= 0]

    assert seen == sorted(seen)
    assert seen[-1] == len(words) - 1


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("tokens", ["content", "all"])
def test_other_pools_read_from_the_first_to_the_last_character(pool: str, tokens: str) -> None:
    """Special tokens at either end stand for no characters."""
    readout = Readout(pool=pool, tokens=tokens)  # type: ignore[arg-type]

    assert read_of(TEXTS, readout, bos=True, eos=True) == [text.strip() for text in TEXTS]


def test_a_special_token_stands_for_no_characters() -> None:
    """Literally the last token may be one that the tokenizer adds."""
    assert read_of(TEXTS, Readout(pool="last", tokens="all"), bos=True, eos=True) == [""] * 5


def test_a_tokenizer_without_offsets_does_not_tell() -> None:
    """Then no word is marked."""
    adapter = HFAdapter(model_of("gpt2", vocab_size=400), ByT5Tokenizer(), "gpt2")

    assert adapter.tokenization([Stimulus("0", TEXTS[0])], Readout()).read is None
