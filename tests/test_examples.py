"""What a model says intact, ablated, amplified and under a control: in a run and on its page."""

import io
import json
import random
import re
import shutil
from base64 import b64decode
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy.special import softmax

from deeploc.analysis.examples import beginning, chosen_inputs, make_examples
from deeploc.cli import main
from deeploc.contrast.model import Contrast, load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Predictions, Sampling
from deeploc.core.examples import Examples, Given, Guess, Output, State
from deeploc.core.scalars import mask_of_scalars
from deeploc.core.units import UnitMask
from deeploc.errors import ContrastError, DeeplocError, RunError
from deeploc.experiment import open_run
from deeploc.progress import ignore_progress
from deeploc.report.examples import examples_part, first_difference, visible
from deeploc.report.html import render
from deeploc.runs.files import hash_of
from deeploc.runs.saved_run import load_run
from deeploc.stimuli import Stimulus
from deeploc.stimuli.thumbnail import THUMBNAIL_SIDE, thumbnail
from deeploc.testing import ToyAdapter

SMALL = [
    *("--limit", "12", "--percent", "1", "--mode", "zero", "-q"),
    *("--set", "ablate.controls.random=1", "--set", "verdict.controls=0"),
    *("--set", "verdict.untrained=false"),
]
NAMES = ["intact", "ablated", "amplified", "random"]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run of ``language`` on reference:lm; no test changes it."""
    return _made("language", "lm", "perplexity", tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def of_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run of ``faces-rendered`` on reference:cnn; no test changes it."""
    return _made("faces-rendered", "cnn", "label-stability", tmp_path_factory.mktemp("images"))


def _made(contrast: str, model: str, task: str, folder: Path) -> Path:
    only = ["--set", f"evaluate=[{task}]", "--set", "verdict={controls: 0, untrained: false}"]
    args = ["run", contrast, "-m", f"reference:{model}", "-o", folder / "run", *SMALL, *only]
    result = run(*args)
    assert result.exit_code == 0, result.output
    return folder / "run"


def contrast_of(**changes: Any) -> Contrast:
    plain = {
        "name": "letters",
        "title": "letters",
        "modality": "text",
        "source": "made for the tests",
        "conditions": {name: {"texts": ["x y", "z"]} for name in "abcd"},
        "contrast": "b, a > c",
    }
    return Contrast.model_validate({**plain, **changes})


def held_out(n: int = 3) -> dict[str, list[Stimulus]]:
    return {name: [Stimulus(f"{name}:{i}", f"{name} {i} x y") for i in range(n)] for name in "abcd"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the old  dog\nsees it now", "the old  dog"),
        ("one two three", "one"),
        ("word", "word"),
        ("  ", "  "),
        (" ".join("x" * 200), " ".join("x" * 40)),
    ],
)
def test_a_prompt_is_the_first_half_of_the_words(text: str, expected: str) -> None:
    """Rounded down, one at least, and no more than 40; white space within stays as it is."""
    assert beginning(text) == expected


def test_two_texts_of_each_side_are_continued() -> None:
    """Conditions of a side take turns; those outside the comparison are not continued."""
    chosen = chosen_inputs(contrast_of(), held_out())

    assert [(name, item.id, item.content) for name, item in chosen] == [
        ("b", "b:0", "b 0"),
        ("a", "a:0", "a 0"),
        ("c", "c:0", "c 0"),
        ("c", "c:1", "c 1"),
    ]
    assert len(chosen_inputs(contrast_of(), held_out(1))) == 3


def test_one_image_of_each_condition_is_classified() -> None:
    """At most four, the preferred side first, those outside the comparison last."""
    conditions = {name: {"images": f"{name}/*.png"} for name in "edcba"}
    contrast = contrast_of(modality="image", conditions=conditions, contrast="b > c")
    images = {name: [Stimulus(f"{name}:0", Path(name))] for name in "edcba"}

    assert [name for name, _ in chosen_inputs(contrast, images)] == ["b", "c", "e", "d"]


def test_the_contrast_names_prompts_or_switches_examples_off() -> None:
    """One text is a list of one; a stimulus is not continued then."""
    own = contrast_of(examples={"prompts": "the old dog"})
    off = contrast_of(examples=False)

    assert chosen_inputs(own, held_out()) == [("", Stimulus("", "the old dog"))]
    assert chosen_inputs(off, held_out()) == []
    assert Contrast.from_json(own.to_json(), Path()).examples == own.examples


@pytest.mark.parametrize(
    ("contrast", "value", "message"),
    [
        ("language", "perhaps", "examples"),
        ("language", "{prompts: []}", "examples.prompts"),
        ("language", "{prompts: [a, b, c, d, e]}", "examples.prompts"),
        ("language", "{prompt: a}", "did you mean 'prompts'"),
        ("faces-rendered", "{prompts: a}", "an image is not continued; write `examples: true`"),
    ],
)
def test_wrong_examples_are_refused(contrast: str, value: str, message: str) -> None:
    """Every line of the message names the key."""
    with pytest.raises(ContrastError) as raised:
        load(contrast, [f"examples={value}"])

    assert message in str(raised.value)
    assert all("examples" in line for line in str(raised.value).splitlines())


def test_texts_are_those_of_the_model_in_every_state(of_texts: Path) -> None:
    """Each equals what the adapter generates then; random units are the run's own random-0."""
    saved, opened = load_run(of_texts), open_run(of_texts)
    examples, layout = saved.examples, saved.mask.layout
    assert examples is not None
    prompts = [str(given.prompt) for given in examples.given]

    def said() -> tuple[str, ...]:
        return tuple(opened.adapter.generate(prompt, Sampling(24)) for prompt in prompts)

    assert [given.condition for given in examples.given] == ["sentences"] * 2 + ["nonwords"] * 2
    assert examples.kinds == ["mlp-neurons", "block"]
    for kind in examples.kinds:
        outputs = {output.state.name: output for output in examples.of(kind)}
        random_0 = np.isin(np.arange(layout.n_units), saved.controls[f"{kind}/1/top/random-0"])
        selected = saved.mask.of_kind(kind)
        assert list(outputs) == NAMES
        assert {o.state.n_units for o in outputs.values()} == {0, len(selected)}
        assert outputs["intact"].texts == said()
        for name, mask, gain in (
            ("ablated", selected, 0.0),
            ("random", UnitMask(layout, random_0), 0.0),
            ("amplified", selected, 3.0),
        ):
            with opened.adapter.ablated(Ablation(mask_of_scalars(mask), gain=gain)):
                assert outputs[name].texts == said()
    assert len({output.texts for output in examples.outputs}) > 3


def test_classes_are_those_of_the_model_in_every_state(of_images: Path) -> None:
    """The five largest of the softmax of what the adapter returns, intact and ablated."""
    saved, opened = load_run(of_images), open_run(of_images)
    examples = saved.examples
    assert examples is not None
    first = [group[0] for group in list(opened.stimuli.held_out.values())[:4]]
    kind = examples.kinds[-1]
    intact, ablated, *_ = examples.of(kind)

    def best() -> list[list[tuple[str, float]]]:
        rows = softmax(opened.adapter.classify(first).logits.astype(float), axis=1)
        order = np.argsort(-rows, axis=1, kind="stable")[:, :5]
        names = [group[0] for group in opened.adapter.classes]
        return [
            [(names[i], pytest.approx(float(row[i]), rel=1e-4, abs=1e-7)) for i in chosen]
            for row, chosen in zip(rows, order, strict=True)
        ]

    assert [g.condition for g in examples.given] == ["faces", "bodies", "houses", "tools"]
    assert [[(g.label, g.probability) for g in row] for row in intact.guesses] == best()
    selected = mask_of_scalars(saved.mask.of_kind(kind))
    with opened.adapter.ablated(Ablation(selected)):
        assert [[(g.label, g.probability) for g in row] for row in ablated.guesses] == best()
    assert intact.guesses != ablated.guesses


def test_thumbnails_show_what_the_network_sees(of_images: Path) -> None:
    """A JPEG of the cropped image, close to its pixels, that lies in the file itself."""
    examples, opened = load_run(of_images).examples, open_run(of_images)
    assert examples is not None
    stimulus = opened.stimuli.held_out["faces"][0]
    image = Image.open(io.BytesIO(b64decode(examples.given[0].thumbnail or "")))
    (seen,) = opened.adapter.pictures([stimulus])

    assert image.format == "JPEG"
    assert image.size == seen.shape[1::-1] == (64, 64)
    assert np.abs(np.asarray(image, dtype=float) - seen).mean() < 8
    assert max(Image.open(io.BytesIO(thumbnail(np.zeros((300, 200, 3), "u1")))).size) == (
        THUMBNAIL_SIDE
    )


def test_lost_examples_are_made_again_to_the_last_bit(of_texts: Path, tmp_path: Path) -> None:
    """Nothing else is; other modes of an evaluation do not change what the run shows."""
    folder = shutil.copytree(of_texts, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "examples.json").unlink()
    evaluated = run("evaluate", folder, "--task", "perplexity", *SMALL[2:6], "-q")

    assert evaluated.exit_code == 0, evaluated.output
    assert (folder / "examples.json").read_bytes() == before["examples.json"]
    assert (folder / "scores.csv").read_bytes() == before["scores.csv"]
    again = run("evaluate", folder, "--mode", "scale:0.5", "--percent", "1", "--task", "perplexity")
    assert again.exit_code == 0, again.output
    (reused,) = [line for line in again.stderr.splitlines() if line.startswith("up to date")]
    assert "examples" in reused
    assert "evaluate" not in reused


def test_localize_makes_no_examples(tiny_lm: Path, shared_contrast: Path, tmp_path: Path) -> None:
    """They come with the evaluation; where they are switched off the page is silent."""
    model, folder = f"hf:{tiny_lm}", tmp_path / "run"
    assert run("localize", shared_contrast, "-m", model, "-o", folder, "-q").exit_code == 0
    assert load_run(folder).examples is None
    off = ("--set", "examples=false", "--set", "evaluate=[]")
    assert run("run", shared_contrast, "-m", model, "-o", folder, "-q", *off).exit_code == 0

    assert load_run(folder).examples == Examples()
    assert "What the model says" not in render(folder)


def test_a_prompt_that_cannot_be_continued_stops_no_run(
    tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """It is told on the terminal, also when the run is reused, and on the page."""
    prompt = " ".join(["cat"] * 70)  # the model's context is 64
    changes = ("--set", f"examples={{prompts: {prompt}}}", "--set", "evaluate=[perplexity]")
    args = ("run", shared_contrast, "-m", f"hf:{tiny_lm}", "-o", tmp_path / "run", *changes)
    args += ("--set", "ablate={controls: {random: 1}}")
    first, again = run(*args), run(*args)
    why = "the prompt has 70 tokens but the model's context is 64; shorten the prompt"

    assert first.exit_code == again.exit_code == 0, first.output
    for result in (first, again):
        assert f"warning: no examples of what the model says: {why}" in result.stderr
    assert f"Not shown: {why}." in render(tmp_path / "run").replace("&#39;", "'")


class Featureless(ToyAdapter):
    """A network without classes."""

    classes = ()

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        return Predictions(None, np.zeros((len(stimuli), 2), dtype=np.float32))


def test_models_that_neither_speak_nor_classify_have_none(of_texts: Path) -> None:
    """A network without classes, or one that does not generate, is no error."""
    opened = open_run(of_texts)
    image, text = [("a", Stimulus("a", Path("a.png")))], [("a", Stimulus("a", "b"))]
    for adapter, chosen in ((Featureless(), image), (Featureless(), text), (opened.adapter, image)):
        silent = _Localized(adapter, opened)
        made = make_examples(silent, chosen, "zero", seed=0, on_progress=ignore_progress)
        assert made == Examples()


class _Localized:
    """The results of a run with another model."""

    def __init__(self, adapter: Any, opened: Any) -> None:
        self.adapter, self.modes = adapter, opened.modes
        self.stat_map, self.mask = opened.stat_map, opened.mask


@pytest.mark.parametrize(
    ("text", "intact", "expected"),
    [
        (" a b", " a b", None),
        (" a x c", " a b c", (" a ", "x", " c")),
        ("x", "", ("", "x", "")),
        ("", " a", ("", "", "")),
        (" a", " a b", (" a", "", "")),
        (" a\nb", " a b", (" a", "↵b", "")),
        (" a  ", " a", (" a  ", "", "")),
    ],
)
def test_the_first_word_that_differs_is_found(
    text: str, intact: str, expected: tuple[str, str, str] | None
) -> None:
    """Also where a text ends early, goes on, or differs in white space only."""
    assert first_difference(text, intact) == expected


def test_what_cannot_be_seen_is_shown_by_a_sign() -> None:
    """Control characters and those that turn the direction; joiners of a script stay."""
    told = "a\x00\t\x85\u202e\u2028\u2066b"
    stays = "\u0645\u06cc\u200c\u062e 👩\u200d🔬 é"

    assert visible(told) == "a␀⇥<U+0085><U+202E><U+2028><U+2066>b"
    assert visible(stays) == stays


NASTY = "<script>alert(1)</script>\x1b[31m\u202e"


def shown(text: str, folder: Path) -> str:
    """Put examples with a text everywhere into a copy of a run; return its page."""
    given = Given(text, text, prompt=text)
    states = [State(), *(State(name, "block", "zero", 3) for name in ("ablated", "random"))]
    outputs = tuple(Output(state, texts=(f"{text} {i}",)) for i, state in enumerate(states))
    write(folder, Examples((given,), outputs).to_json())
    return render(folder)


def write(folder: Path, value: Any) -> None:
    """Write examples.json with the hash in the manifest made to fit."""
    (folder / "examples.json").write_text(json.dumps(value))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["examples"]["files"] = {"examples.json": hash_of(folder / "examples.json")}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_page_escapes_all_that_a_model_says(finished: Path) -> None:
    """Nothing of a prompt, a name or a text is markup, control characters are signs."""
    page = shown(NASTY, finished)

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;␛[31m&lt;U+202E&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_page_marks_what_differs(finished: Path) -> None:
    """In the order intact, ablated, random; a mark is bold and underlined, not only coloured."""
    page = shown("x", finished)
    section = page[page.index("What the model says") : page.index("<h2>Methods")]

    assert section.count("<mark>") == 2
    assert "x <mark>1</mark>" in section
    places = [section.index(f'<th scope="row">{name}') for name in ("intact", "ablated", "random")]
    assert places == sorted(places)
    assert "mark { " in page
    assert "text-decoration: underline" in page[page.index("mark { ") :][:200]


def test_the_page_of_images_needs_nothing_beside_it(of_images: Path, tmp_path: Path) -> None:
    """Thumbnails are in the page, with alternative texts, and its policy lets them in."""
    folder = shutil.copytree(of_images, tmp_path / "elsewhere" / "run")
    page = render(folder)

    assert "img-src data:;" in page
    assert page.count('<img src="data:image/jpeg;base64,/9j/') >= 4
    pictures = re.findall("<img [^>]*>", page)
    assert len([each for each in pictures if each.endswith(', as the network sees it">')]) >= 4
    assert all('alt="' in each for each in pictures)


def test_shares_are_never_rounded_to_certainty() -> None:
    """Nothing is 0 or 100 %; only another first class is marked."""
    states = (State(), State("ablated", "block", "zero", 1))
    rows = ((("cat", 0.9999), ("dog", 0.0001)), (("dog", 0.75), ("cat", 0.25)))
    guesses = [tuple(Guess(*pair) for pair in row) for row in rows]
    outputs = tuple(
        Output(state, guesses=(row,)) for state, row in zip(states, guesses, strict=True)
    )
    part = examples_part(Examples((Given("a", "b"),), outputs), None)
    assert part is not None
    intact, ablated = part["kinds"][0]["items"][0]["rows"]

    assert [guess["share"] for guess in intact["guesses"]] == ["> 99.9", "< 0.1"]
    assert [guess["differs"] for guess in ablated["guesses"]] == [True, False]


ODD = (None, True, -1, 2**70, 1e308, float("nan"), "", "x", "\ud800", [], {}, [[]], {"a": 1})


@pytest.mark.parametrize("seed", range(2))
def test_damaged_examples_are_one_line(of_images: Path, tmp_path: Path, seed: int) -> None:
    """Values of any type at any place: read as they are, or refused with their place."""
    folder = shutil.copytree(of_images, tmp_path / "run")
    original = json.loads((folder / "examples.json").read_text())
    rng, refused = random.Random(seed), list[str]()
    for _ in range(25):
        value = deepcopy(original)
        part, key = rng.choice(list(places(value)))
        part[key] = rng.choice(ODD)
        write(folder, value)
        with pytest.raises(RunError) as raised:
            examples_part(load_run(folder).examples, None)
            raise RunError("")  # it could be read
        refused.append(str(raised.value))

    told = [text for text in refused if text]
    assert len(told) > 5
    assert all(text.startswith(f"{folder / 'examples.json'} is broken: ") for text in told)
    assert not any("\n" in text for text in told)


def places(value: Any) -> Any:
    """Yield every place of a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Examples((Given("a", "b", "c"),), ()),
        lambda: Examples((Given("a", "b", "c"),), (Output(State(), ("x", "y")),)),
        lambda: Examples((Given("a", "b", "c"),), (Output(State("random"), ("x",)),)),
        lambda: Examples((Given("a", "b"),), (Output(State(), ("x",)),)),
        lambda: Guess("a", 1.5),
        lambda: Guess("a", float("nan")),
        lambda: Given("a", "b", thumbnail='"><script>'),
    ],
)
def test_examples_that_contradict_themselves_are_refused(make: Any) -> None:
    """Outputs that answer other inputs, no intact one, no probability, no picture."""
    with pytest.raises(ValueError, match=r"\w"):
        make()


def test_a_changed_file_is_refused(of_texts: Path, tmp_path: Path) -> None:
    """As every file of a run that is not as it was written."""
    folder = shutil.copytree(of_texts, tmp_path / "run")
    (folder / "examples.json").write_text("{}")

    with pytest.raises(DeeplocError, match=r"examples\.json is missing or not as 'examples' wrote"):
        _ = load_run(folder).examples
