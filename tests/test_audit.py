"""What is counted of the stimuli before a model runs, against numbers found by hand."""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tokenizers.normalizers import Replace

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._text.tokens import encode
from deeploc.adapters.module import wrap
from deeploc.analysis.audit import Audit, audit_stimuli
from deeploc.analysis.confounds import confounds
from deeploc.cli import main
from deeploc.contrast.model import Contrast, parse_comparison
from deeploc.core.adapter import Tokenizes
from deeploc.core.readout import Readout
from deeploc.errors import AdapterError
from deeploc.report.audit_tables import tables
from deeploc.report.html import render
from deeploc.stimuli import ImageProperties, Stimulus, StimulusSets, sample_stimuli
from deeploc.testing import ToyAdapter

from .adapters.conftest import model_of, tokenizer_of


def contrast_of(conditions: Mapping[str, Any], declared: str = "a > b", **more: Any) -> Contrast:
    reported = {"name": "x", "title": "x", "modality": "text", "source": "made up", "split": "none"}
    return Contrast.model_validate(
        {**reported, "conditions": conditions, "contrast": declared, **more}
    )


def audit_of(**texts: list[str]) -> Audit:
    contrast = contrast_of({name: {"texts": each} for name, each in texts.items()})
    return audit_stimuli(contrast, sample_stimuli(contrast, seed=0))


ALIKE = {"a": ["one two", "three four five"], "b": ["six seven", "eight nine and"]}


def test_words_and_characters_are_counted() -> None:
    """Mean, sd, min and max of each condition, as found by hand."""
    reported = audit_of(a=["one two", "one  two three four"], b=["a", "b"]).conditions["a"]

    assert reported["n"] == 2
    assert reported["words"] == {"mean": 3, "sd": pytest.approx(2**0.5), "min": 2, "max": 4}
    assert reported["characters"] == {"mean": 13, "sd": pytest.approx(72**0.5), "min": 7, "max": 19}
    assert "tokens" not in reported


def test_stimuli_that_are_alike_give_no_warning() -> None:
    """Equal words, nearly equal letters, nothing twice."""
    assert audit_of(**ALIKE).warnings == []


def test_both_halves_are_counted_once() -> None:
    """With `split: half` n is that of both halves, and repeats across them are seen."""
    texts = [f"word {i}" for i in range(6)]
    contrast = contrast_of({"a": {"texts": texts}, "b": {"texts": texts[::-1]}}, split="half")
    result_ = audit_stimuli(contrast, sample_stimuli(contrast, seed=0))

    assert [reported["n"] for reported in result_.conditions.values()] == [6, 6]
    assert result_.conditions["a"]["shared"] == {"b": 6}


def test_duplicates_are_reported() -> None:
    """What a condition shows again is counted and told with the number."""
    result_ = audit_of(a=["x y", "x y", "x y", "z w"], b=["c d", "e f"])

    assert result_.conditions["a"]["duplicates"] == 2
    assert result_.warnings == [
        "2 of 4 stimuli of a repeat another one; t counts each as independent evidence"
    ]


def test_stimuli_in_two_conditions_are_reported_once() -> None:
    """Each condition has its own count; the pair has one sentence."""
    result_ = audit_of(a=["x y", "x y", "z w"], b=["c d", "x y"])

    assert result_.conditions["a"]["shared"] == {"b": 2}
    assert result_.conditions["b"]["shared"] == {"a": 1}
    assert result_.warnings[-1] == (
        "2 of 3 stimuli of a and 1 of 2 of b are the same; "
        "what is in both conditions cannot distinguish them"
    )


def test_longer_texts_are_told_with_both_means() -> None:
    """d = (3.5 - 2.5) / sqrt(0.5): both sides and both numbers stand in one sentence."""
    first, *_ = audit_of(a=["a b", "c d e"], b=["f g h", "i j k l"]).warnings

    assert first == (
        "mean words 3.5 in b but 2.5 in a (Cohen's d = 1.41); "
        "this difference alone could explain the contrast"
    )


def test_a_difference_that_never_varies_is_reported() -> None:
    """Without any variance d has no value, and the difference explains everything."""
    first, *_ = audit_of(a=["a b", "c d"], b=["e f g", "h i j"]).warnings

    assert first.startswith("mean words 3 in b but 2 in a (constant within each side);")


def vectors(key: str, **values: list[float]) -> dict[str, dict[str, np.ndarray]]:
    return {name: {key: np.array(each, dtype=float)} for name, each in values.items()}


@pytest.mark.parametrize(("n", "sentences"), [(10, 0), (11, 1)])
def test_shares_are_told_from_ten_points(n: int, sentences: int) -> None:
    """30 % against 20 % is told, 29 % against 20 % not, whatever floats make of it."""
    measured = vectors("truncated", a=[1] * (19 + n) + [0] * (81 - n), b=[1] * 20 + [0] * 80)
    result_ = confounds(parse_comparison("a > b", measured), measured, 12)

    assert len(result_) == sentences
    if n == 11:
        assert result_ == [
            "30 % of a but 20 % of b are truncated at 12 tokens; "
            "this difference alone could explain the contrast"
        ]


@pytest.mark.parametrize(("d", "sentences"), [(0.499, 0), (0.501, 1), (-0.501, 1)])
def test_means_are_told_from_a_medium_effect(d: float, sentences: int) -> None:
    """Cohen's d from 0.5, in whichever direction; here the pooled sd is 1."""
    sample = np.array([-1, 0, 1.0])
    measured = vectors("luminance", a=list(sample + d), b=list(sample))

    assert len(confounds(parse_comparison("a > b", measured), measured)) == sentences


@pytest.mark.parametrize(("levels", "sentences"), [(0.9, 0), (1.1, 1)])
def test_luminances_within_a_grey_level_are_equal(levels: float, sentences: int) -> None:
    """Where luminance was equalized its sd is next to nothing, and d says nothing."""
    sample = 0.5 + np.array([-1e-6, 0, 1e-6])
    measured = vectors("luminance", a=list(sample + levels / 255), b=list(sample))

    assert len(confounds(parse_comparison("a > b", measured), measured)) == sentences


def test_sides_are_taken_together() -> None:
    """The controls of a side count as one; a condition in neither side does not count."""
    measured = vectors("words", a=[4, 5, 6], b=[1, 2, 3], c=[7, 8, 9], d=[99, 98, 97])
    both = confounds(parse_comparison("a > b, c", measured), measured)
    one = confounds(parse_comparison("a > b", measured), measured)
    weighted = confounds(parse_comparison({"a": 1, "b": -0.5, "d": -0.5}, measured), measured)

    assert both == []
    assert one[0].startswith("mean words 5 in a but 2 in b (Cohen's d = 3.00)")
    assert weighted[0].startswith("mean words 50 in b and d but 5 in a ")


def test_many_conditions_are_not_all_named() -> None:
    """The sentence stays readable with a dozen of controls."""
    names = "abcdefg"
    measured = vectors("words", **{n: [3, 4, 5] if n == "a" else [1, 2, 3] for n in names})
    (result_,) = confounds(parse_comparison("a > b, c, d, e, f, g", measured), measured)

    assert "but 2 in b, c and 4 other conditions (" in result_


def test_what_one_condition_lacks_is_not_compared() -> None:
    """No number, no warning."""
    measured = {**vectors("words", a=[1, 2, 3]), **vectors("luminance", b=[1, 2, 3])}

    assert confounds(parse_comparison("a > b", measured), measured) == []


# Images


def shades(folder: Path, grey: int, size: tuple[int, int] = (64, 48), form: str = "png") -> None:
    folder.mkdir()
    for number in range(3):
        Image.new("L", size, grey + number).save(folder / f"{number}.{form}")


def images_of(folder: Path, declared: str = "a > b") -> tuple[Contrast, StimulusSets]:
    names = sorted(path.name for path in folder.iterdir())
    conditions = {name: {"images": f"{folder}/{name}"} for name in names}
    contrast = contrast_of(conditions, declared, modality="image")
    return contrast, sample_stimuli(contrast, seed=0)


def test_size_and_luminance_of_images(tmp_path: Path) -> None:
    """Greys of 100 to 102 of 255; width and height as they are stored."""
    shades(tmp_path / "a", 100)
    shades(tmp_path / "b", 200, (32, 96))
    result_ = audit_stimuli(*images_of(tmp_path)).conditions

    assert result_["a"]["luminance"] == pytest.approx(
        {"mean": 101 / 255, "sd": 1 / 255, "min": 100 / 255, "max": 102 / 255}
    )
    assert (result_["b"]["width"]["max"], result_["b"]["height"]["min"]) == (32, 96)
    assert "words" not in result_["a"]


def test_brighter_and_larger_images_are_reported(tmp_path: Path) -> None:
    """One sentence for luminance, one for the number of pixels."""
    shades(tmp_path / "a", 100)
    shades(tmp_path / "b", 200, (64, 64))

    assert audit_stimuli(*images_of(tmp_path)).warnings == [
        "mean luminance 0.788 in b but 0.396 in a (Cohen's d = 100.00); "
        "this difference alone could explain the contrast",
        "mean pixels 4,096 in b but 3,072 in a (constant within each side); "
        "this difference alone could explain the contrast",
    ]


def test_equal_files_are_duplicates_whatever_their_names(tmp_path: Path) -> None:
    """Bytes decide, within a condition and across two."""
    shades(tmp_path / "a", 100)
    shades(tmp_path / "b", 100)
    (tmp_path / "a" / "again.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    result_ = audit_stimuli(*images_of(tmp_path)).conditions

    assert result_["a"]["duplicates"] == 1
    assert (result_["a"]["shared"], result_["b"]["shared"]) == ({"b": 4}, {"a": 3})


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_luminance_is_that_of_pillow(tmp_path: Path, form: str) -> None:
    """A reduced decode gives the mean of `convert("L")` at full size, to one grey level."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((240, 180), Image.Resampling.BICUBIC)
    for name, number in itertools.product("ab", range(2)):
        (tmp_path / name).mkdir(exist_ok=True)
        picture.rotate(90 * number).save(tmp_path / name / f"{number}.{form}")
    _, sampled = images_of(tmp_path)
    (first, _) = sampled.localizing["a"]
    with Image.open(first.content) as image:
        expected = np.asarray(image.convert("L")).mean() / 255

    assert isinstance(first.properties, ImageProperties)
    assert first.properties.luminance == pytest.approx(expected, abs=1 / 255)


def test_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    """An image that EXIF turns by a right angle is as wide as it is shown."""
    shades(tmp_path / "b", 100)
    (tmp_path / "a").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    for number in range(2):
        Image.new("RGB", (80, 40)).save(tmp_path / "a" / f"{number}.jpg", exif=turned)
    result_ = audit_stimuli(*images_of(tmp_path)).conditions["a"]

    assert (result_["width"]["mean"], result_["height"]["mean"]) == (40, 80)


# Tokens


TEXTS = {
    "a": ["the old woman reads", "the bird sang", "some farmers walked home"],
    "b": ["vek blorp shint dax", "drell spow frim", "gorp hend jask klum norv"],
}


def tokens_of(
    tokenizer: Any, texts: Mapping[str, list[str]] = TEXTS, **read: Any
) -> tuple[dict[str, Any], list[str]]:
    adapter = HFAdapter(model_of("gpt2"), tokenizer, "tiny")
    contrast = contrast_of({name: {"texts": each} for name, each in texts.items()}, read=read)
    result_ = audit_stimuli(contrast, sample_stimuli(contrast, seed=0), adapter)
    return dict(result_.conditions), list(result_.warnings)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("limit", [None, 6])
def test_tokens_are_those_of_transformers(bos: bool, eos: bool, limit: int | None) -> None:
    """Before truncation and without special tokens, which count when a text is cut."""
    tokenizer = tokenizer_of(bos=bos, eos=eos)
    bare = {name: tokenizer(each, add_special_tokens=False) for name, each in TEXTS.items()}
    result_, _ = tokens_of(tokenizer, max_tokens=limit, tokens="all")
    room = (limit or 64) - bos - eos

    for name, reported in result_.items():
        lengths = np.array([len(ids) for ids in bare[name]["input_ids"]])
        spread = {"mean": lengths.mean(), "min": lengths.min(), "max": lengths.max()}
        assert {key: reported["tokens"][key] for key in spread} == spread
        assert reported["truncated"] == np.mean(lengths > room)
        assert reported["bos"] == bos


def test_text_of_just_the_limit_is_not_truncated() -> None:
    """As many tokens as there is room for: all of them are kept."""
    tokenizer = tokenizer_of()
    n = len(tokenizer("the bird sang")["input_ids"])
    texts = {"a": ["the bird sang"] * 2, "b": ["the bird sang in"] * 2}
    result_, _ = tokens_of(tokenizer, texts, max_tokens=n, tokens="all")

    assert [reported["truncated"] for reported in result_.values()] == [0, 1]


def test_words_cut_in_the_middle_are_counted() -> None:
    """`all` reads the last token there is: its word goes on in the text, or it does not."""
    tokenizer = tokenizer_of()
    limit = len(tokenizer("the old")["input_ids"])
    assert len(tokenizer("th farmers")["input_ids"]) > limit
    texts = {"a": ["the old woman", "the old"], "b": ["the incomprehensibles", "the oldest"]}
    result_, warnings = tokens_of(tokenizer, texts, max_tokens=limit, tokens="all")

    assert [reported["not_word_final"] for reported in result_.values()] == [0, 1]
    assert (
        "100 % of b but 0 % of a are read at a token that does not end a word; "
        "this difference alone could explain the contrast"
    ) in warnings


def test_content_is_read_at_the_end_of_a_word() -> None:
    """Pool `last` of content tokens goes back to the last word that is whole."""
    result_, _ = tokens_of(tokenizer_of(bos=True), max_tokens=9)

    assert result_["b"]["truncated"] > 0
    assert [reported["not_word_final"] for reported in result_.values()] == [0, 0]


def test_whole_words_left_are_counted() -> None:
    """Where texts are cut, a word counts if its last letter is read."""
    tokenizer = tokenizer_of()
    limit = len(tokenizer("the old")["input_ids"])
    texts = {"a": ["the old woman", "the old"], "b": ["the incomprehensibles", "the oldest"]}
    result_, warnings = tokens_of(tokenizer, texts, max_tokens=limit, tokens="all")

    assert [reported["words_left"]["mean"] for reported in result_.values()] == [2, 1]
    assert (
        "mean words left after truncation 2 in a but 1 in b (constant within each "
        "side); this difference alone could explain the contrast"
    ) in warnings
    assert "words_left" not in tokens_of(tokenizer, texts)[0]["a"]


def test_a_text_without_a_token_is_reported() -> None:
    """A tokenizer may drop all of a text; that is no crash."""
    tokenizer = tokenizer_of()
    tokenizer.backend_tokenizer.normalizer = Replace("zzz", "")
    texts = {"a": ["the old", "zzz"], "b": ["a bird", "some farmers"]}

    with pytest.raises(AdapterError, match="texts:1"):
        tokens_of(tokenizer, texts)


def test_an_appended_special_token_ends_no_word() -> None:
    """`tokens: all` reads the end-of-text token where the tokenizer puts one."""
    result_, _ = tokens_of(tokenizer_of(eos=True), tokens="all")

    assert result_["a"]["not_word_final"] == 1


def test_the_mean_over_tokens_has_no_token_that_is_read() -> None:
    """Only pool `last` reads a single token."""
    result_, _ = tokens_of(tokenizer_of(), pool="mean")

    assert "not_word_final" not in result_["a"]


def test_truncated_share_is_told_with_the_limit() -> None:
    """The limit is the read-out's, or the model's context where that is less."""
    texts = {"a": ["the bird sang"] * 2, "b": ["the bird sang " * 40] * 2}
    _, (first, *_) = tokens_of(tokenizer_of(), texts)

    assert first == (
        "100 % of b but 0 % of a are truncated at 64 tokens; "
        "this difference alone could explain the contrast"
    )


def test_the_audit_reads_what_the_model_reads() -> None:
    """The token called word-final or not is the one whose state is read out."""
    tokenizer, model = tokenizer_of(bos=True), model_of("gpt2")
    stimulus = Stimulus("x", "the incomprehensible birds of the old woman")
    ends = []
    for limit in range(2, 20):
        readout = Readout(tokens="all", max_tokens=limit)
        encoded = encode(tokenizer, [stimulus], readout, 64)
        (position,) = np.flatnonzero(encoded.read)[-1:]
        decoded = tokenizer.decode(encoded.ids[1 : position + 1])
        (final,) = HFAdapter(model, tokenizer, "x").tokenization([stimulus], readout).word_final
        assert final == (decoded in spelled(str(stimulus.content)))
        ends.append(final)

    assert set(ends) == {True, False}


def spelled(text: str) -> set[str]:
    """Return the beginnings of a text that end with a word."""
    words = text.split()
    return {" ".join(words[:n]) for n in range(1, len(words) + 1)}


def test_adapters_that_do_not_tokenize_lack_the_columns() -> None:
    """An adapter need not tell; the other numbers are there."""
    contrast = contrast_of({name: {"texts": each} for name, each in ALIKE.items()})
    reported = audit_stimuli(contrast, sample_stimuli(contrast, seed=0), ToyAdapter()).conditions[
        "a"
    ]

    assert set(reported) == {"n", "duplicates", "elsewhere", "shared", "words", "characters"}


def test_a_wrapped_language_model_tokenizes() -> None:
    """`wrap(model, tokenizer=...)` is told like `hf:`."""
    assert isinstance(wrap(model_of("gpt2"), tokenizer=tokenizer_of()), Tokenizes)


# In a run


def warnings_of(run: Result) -> list[str]:
    return [line for line in run.stderr.splitlines() if line.startswith("warning: ")]


def manifest_at(folder: Path) -> dict[str, Any]:
    reported: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return reported


@pytest.fixture
def localized(tiny_lm: Path, contrast_file: Path, tmp_path: Path) -> Callable[..., Result]:
    """Return a function that localizes into ``tmp_path / "run"``, one list given twice."""
    lists = tmp_path / "lists.csv"
    lists.write_text(lists.read_text() + "dax wug fep,N\ndax wug fep,N\n")

    def localize(*options: str) -> Result:
        args = ["localize", contrast_file, "-m", f"hf:{tiny_lm}", "-o", tmp_path / "run", *options]
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        assert result.exit_code == 0, result.output
        return result

    return localize


def test_a_run_reports_and_records_its_audit(
    localized: Callable[..., Result], tmp_path: Path
) -> None:
    """Warnings go to stderr before the model runs, and with every number into the manifest."""
    lines = warnings_of(localized())
    audit = manifest_at(tmp_path / "run")["audit"]

    assert lines == [f"warning: {warning}" for warning in audit["warnings"]]
    assert any("1 of 14 stimuli of lists repeat another one" in w for w in lines)
    assert audit["conditions"]["sentences"]["tokens"]["mean"] == 5
    assert audit["limit"] == 64


def test_a_resumed_run_keeps_its_audit_current(
    localized: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics are reused, since the audit decides nothing; what it says is new."""
    localized()
    before = manifest_at(tmp_path / "run")
    monkeypatch.setattr("deeploc.analysis.confounds.MEDIUM_EFFECT", 0.0)
    again = localized()
    after = manifest_at(tmp_path / "run")

    assert (
        "up to date, reused: localize, select, profile, driving, reliability, untrained, massive\n"
        in again.stderr
    )
    assert after["localize"]["inputs"] == before["localize"]["inputs"]
    assert len(after["audit"]["warnings"]) > len(before["audit"]["warnings"])
    assert len(warnings_of(again)) == len(after["audit"]["warnings"])


def test_a_quiet_run_says_nothing(localized: Callable[..., Result], tmp_path: Path) -> None:
    """`-q` silences the notes; the manifest has them all the same."""
    assert warnings_of(localized("-q")) == []
    assert manifest_at(tmp_path / "run")["audit"]["warnings"]


# As tables, in `check` and in the report


def test_tables_show_spreads_and_shares() -> None:
    """Mean (min-max), or the only value; shares in percent; the limit stands in the head."""
    spread = {"mean": 12.783, "sd": 1.0, "min": 12.0, "max": 17.0}
    same = {"mean": 1200.0, "sd": 0.0, "min": 1200.0, "max": 1200.0}
    counted = {"n": 1240, "duplicates": 0, "elsewhere": 3, "shared": {"b": 3}, "words": spread}
    tokens = {"tokens": same, "truncated": 0.446, "not_word_final": 1.0, "bos": 0.0}
    presented, read = tables({"conditions": {"a": {**counted, **tokens}}, "limit": 12})

    assert presented.head == ["condition", "n", "repeats", "in others", "words"]
    assert presented.rows == [["a", "1,240", "0", "3", "12.8 (12-17)"]]
    assert read.head == ["condition", "tokens", "truncated at 12", "not word-final", "BOS"]
    assert read.rows == [["a", "1,200", "44.6 %", "100 %", "0 %"]]


def test_a_manifest_without_an_audit_has_no_tables() -> None:
    """Runs of former versions are still reported."""
    assert tables({}) == []


def test_the_report_shows_the_audit(localized: Callable[..., Result], tmp_path: Path) -> None:
    """Both tables and every warning stand in report.html."""
    localized()
    page = render(tmp_path / "run")

    assert ">truncated at 64</th>" in page
    assert "<li>1 of 14 stimuli of lists repeat another one; t counts each" in page


def check(*args: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)])


def test_check_shows_two_stimuli_the_audit_and_the_warnings(contrast_file: Path) -> None:
    """Warnings are no failure; without a model there are no tokens."""
    lists = contrast_file.parent / "lists.csv"
    lists.write_text(lists.read_text() + "dax wug fep,N\ndax wug fep,N\n")
    result = check(contrast_file)
    sentences = (contrast_file.parent / "sentences.txt").read_text().splitlines()
    _, _, _, *presented = re.split("  +", result.stdout.splitlines()[1])

    assert result.exit_code == 0
    assert len(set(presented) & set(sentences)) == len(presented) == 2
    assert ["condition", "n", "repeats", "in", "others", "words", "characters"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert "warning: 1 of 14 stimuli of lists repeat another one" in result.stdout
    assert "BOS" not in result.stdout
    assert result.stdout.endswith("words.yaml: valid; tasks: perplexity, minimal-pairs\n")


def test_check_counts_the_tokens_of_a_model(contrast_file: Path, tiny_lm: Path) -> None:
    """With -m: a word is a token here, nothing is cut, nothing is put in front."""
    rows = [line.split() for line in check(contrast_file, "-m", f"hf:{tiny_lm}").stdout.split("\n")]

    assert ["sentences", "5", "0", "%", "0", "%", "0", "%"] in rows


def test_check_fits_a_hundred_columns(tmp_path: Path) -> None:
    """Long names and long texts are cut off."""
    name, texts = "a" * 60, ["word " * n for n in (300, 500)]
    conditions = "\n".join(f"  {n}: {{texts: {json.dumps(texts)}}}" for n in (name, "b" * 60))
    (tmp_path / "x.yaml").write_text(
        f"name: x\ntitle: x\nmodality: text\nsource: x\nsplit: none\nconditions:\n{conditions}\n"
        f"contrast: {name} > {'b' * 60}\n"
    )
    result = check(tmp_path / "x.yaml")
    lines = [line for line in result.stdout.splitlines() if not line.startswith("warning: ")]

    assert result.exit_code == 0
    assert max(len(line) for line in lines[:-1]) <= 100


def test_check_as_json(contrast_file: Path) -> None:
    """One document: what is there, the audit as in a manifest, the tasks."""
    reported = json.loads(check(contrast_file, "--json").stdout)

    assert reported["valid"] is True
    assert reported["tasks"] == ["perplexity", "minimal-pairs"]
    assert reported["conditions"]["lists"]["localize"] == 6
    assert len(reported["conditions"]["lists"]["samples"]) == 2
    assert reported["audit"]["conditions"]["lists"]["n"] == 12


def test_check_takes_a_shipped_name() -> None:
    """As every other command does."""
    result = check("language", "--limit", "4")

    assert result.exit_code == 0
    assert "language: valid; tasks: " in result.stdout
