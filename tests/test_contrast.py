"""Contrast files: which are valid, and how every mistake in one is reported."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from deeploc.contrast import model as contrast
from deeploc.contrast.model import Comparison, Contrast, Select
from deeploc.entry_points import available
from deeploc.errors import ContrastError

TASKS = list(available("deeploc.tasks"))

MINIMAL = """\
name: mine
title: Faces > cars
modality: text
source: me
conditions:
  faces: {texts: [a b, a c]}
  cars: {texts: [b c, b d]}
contrast: faces > cars
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, *overrides: str) -> Contrast:
    Path("mine.yaml").write_text(text, encoding="utf-8")
    return contrast.load("mine.yaml", overrides)


def error_of(text: str, *overrides: str) -> str:
    with pytest.raises(ContrastError) as caught:
        load(text, *overrides)
    return str(caught.value)


# What is shipped


@pytest.mark.parametrize("name", contrast.available())
def test_every_shipped_contrast_loads(name: str) -> None:
    """Each file in contrasts/ is valid, has the name of its file and names its source."""
    shipped = contrast.load(name)

    assert shipped.name == name.replace("/", "-")
    assert "10." in shipped.source or "arXiv" in shipped.source
    assert shipped.licence
    assert shipped.notes


def test_what_is_shipped() -> None:
    """The contrasts that the documentation names are there."""
    assert set(contrast.available()) >= {
        "emotion/anger",
        "emotion/fear",
        "emotion/joy",
        "emotion/love",
        "emotion/sadness",
        "emotion/surprise",
        "faces",
        "faces-pooled",
        "language",
        "language-brainscore",
        "language-paper",
        "language-jabberwocky",
        "multiple-demand",
        "multiple-demand-paper",
        "theory-of-mind",
    }


def test_language_paper_is_the_published_protocol() -> None:
    """The options are those of localize.py in BKHMSI/llm-localization for the language network."""
    paper = contrast.load("language-paper")

    assert paper.read.model_dump() == {
        "sites": ("block",),
        "pool": "last",
        "response": "abs",
        "tokens": "all",
        "max_tokens": 12,
        "lowercase": True,
    }
    assert (paper.split, paper.select.percent, paper.ablate.mode) == ("none", 1, ("zero",))
    assert paper.ablate.percent == (0.125, 0.25, 0.5, 1)


def test_brainscore_differs_from_the_paper_in_the_response_only() -> None:
    """localize_fedorenko2010 ranks signed activations, localize.py absolute ones."""
    paper, brainscore = (
        contrast.load(name).to_json() for name in ("language-paper", "language-brainscore")
    )
    reported = {"name", "title", "source", "notes"}

    assert brainscore["read"] == {**paper["read"], "response": "signed"}
    assert all(brainscore[key] == paper[key] for key in paper.keys() - reported - {"read"})


# What a file may say


def test_defaults() -> None:
    """A key that a file omits has the documented default."""
    mine = load(MINIMAL)

    assert mine.read == contrast.Read(
        sites=("block",), pool="last", response="signed", tokens="content"
    )
    assert (mine.split, mine.against, mine.select) == ("half", "pooled", Select(percent=1))
    assert (mine.ablate.mode, mine.ablate.percent) == (("zero",), None)
    assert (mine.ablate.controls.random, mine.ablate.controls.random_global) == (20, 0)
    assert mine.tasks == []


def test_one_value_stands_for_a_list_of_one() -> None:
    """Sites, modes, doses and tasks may be one value or a list."""
    mine = load(
        MINIMAL + "read: {sites: mlp-neurons}\nablate: {mode: mean, percent: 2}\n"
        "evaluate: perplexity\n"
    )

    assert mine.read.sites == ("mlp-neurons",)
    assert (mine.ablate.mode, mine.ablate.percent) == (("mean",), (2.0,))
    assert mine.tasks == [("perplexity", {})]


def test_tasks_carry_their_options() -> None:
    """A task is a name, or a name with a mapping of options below it."""
    mine = load(MINIMAL + "evaluate:\n  - perplexity:\n  - choice: {items: {file: a.jsonl}}\n")

    assert mine.tasks == [("perplexity", {}), ("choice", {"items": {"file": "a.jsonl"}})]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("faces > cars", Comparison(("faces",), ("cars",))),
        ("cars, faces > rest", Comparison(("cars", "faces"), ("rest",))),
        ("faces>cars,rest", Comparison(("faces",), ("cars", "rest"))),
        (
            "{faces: 1, cars: -0.5, rest: -0.5}",
            Comparison(("faces",), ("cars", "rest"), {"faces": 1.0, "cars": -0.5, "rest": -0.5}),
        ),
        (
            "{faces: 1, cars: -1, rest: 0}",
            Comparison(("faces",), ("cars",), {"faces": 1.0, "cars": -1.0}),
        ),
        (
            "{rest: 0.0, faces: -2, cars: 2}",
            Comparison(("cars",), ("faces",), {"faces": -2.0, "cars": 2.0}),
        ),
        (
            "{faces: 1.0e+308, rest: 1.0e+308, cars: -1.0e+308}",
            "weights must have both signs and sum to 0, these sum to 1e+308",
        ),
        (
            "{faces: 1.0e-12, cars: -2.0e-12}",
            "weights must have both signs and sum to 0, these sum to -1e-12",
        ),
        ("{faces: 0, cars: 0}", "weights must have both signs and sum to 0, these sum to 0"),
        ("{faces: 1, cars: -1, nose: 0}", "there is no condition 'nose'"),
    ],
)
def test_comparison(declared: str, expected: Comparison | str) -> None:
    """Sides are separated by '>', their conditions by commas, weights by sign; 0 is no side."""
    text = MINIMAL.replace("faces > cars\n", f"{declared}\n")

    text = text.replace("contrast:", "  rest: {texts: [x, y]}\ncontrast:")
    if isinstance(expected, str):
        assert expected in error_of(text)
        return

    mine = load(text)

    assert mine.comparison == expected
    assert "rest" in mine.conditions


def test_relative_paths_start_at_the_file() -> None:
    """The base is the absolute folder of the file, wherever it was loaded from."""
    Path("sub").mkdir()
    Path("sub/c.yml").write_text(MINIMAL)

    assert contrast.load("sub/c.yml").base == Path.cwd() / "sub"


def test_texts_that_look_like_something_else() -> None:
    """Only true and false are booleans, as in YAML 1.2: yes, no, on and dates are texts."""
    mine = load(MINIMAL.replace("[a b, a c]", "[yes, no, on, 2020-01-01, '12', 12:30]"))

    assert mine.conditions["faces"].texts == ("yes", "no", "on", "2020-01-01", "12", "12:30")


def test_where_takes_numbers_as_a_table_holds_them() -> None:
    """A value of `where` is compared as text: 3 with the cell 3, true with JSON's true."""
    mine = load(
        MINIMAL.replace("{texts: [a b, a c]}", "{file: a.csv, where: {x: 3, y: [true, b]}}")
    )

    assert mine.conditions["faces"].where == {"x": ("3",), "y": ("true", "b")}


def test_anchors_are_values() -> None:
    """An alias stands for the value of its anchor."""
    mine = load(MINIMAL.replace("[a b, a c]", "&t [a b, a c]").replace("[b c, b d]", "*t"))

    assert mine.conditions["cars"].texts == ("a b", "a c")


_TEXT = st.text("ab c:-#'\"\n\tñ→", min_size=1).filter(str.strip)


@given(
    title=_TEXT,
    texts=st.lists(_TEXT, min_size=2, max_size=4),
    percent=st.floats(0.01, 100),
    k=st.none() | st.integers(1, 10**6),
)
def test_yaml_round_trip(title: str, texts: list[str], percent: float, k: int | None) -> None:
    """What `to_json` returns, written as YAML and loaded again, is the same contrast."""
    declared = {
        **yaml.safe_load(MINIMAL),
        "title": title,
        "conditions": {"faces": {"texts": texts}, "cars": {"builtin": "sentences", "limit": 5}},
        "select": {"percent": percent} if k is None else {"k": k},
    }
    first = load(yaml.safe_dump(declared, allow_unicode=True)).to_json()

    again = load(yaml.safe_dump(first, allow_unicode=True))

    assert again.to_json() == first
    assert again.conditions["faces"].texts == tuple(texts)


@pytest.mark.parametrize("name", contrast.available())
def test_restored(name: str, tmp_path: Path) -> None:
    """A run's manifest gives back the contrast that was run."""
    shipped = contrast.load(name)

    again = Contrast.from_json(shipped.to_json(), tmp_path)

    assert again.to_json() == shipped.to_json()
    assert again.base == tmp_path


# Overrides


def test_overrides_change_one_value() -> None:
    """`dotted.key=VALUE` reaches below mappings that need not be there yet, and into lists."""
    mine = load(
        MINIMAL + "evaluate: [perplexity, choice]\n",
        "read.pool=mean",
        "ablate.controls.random-global=3",
        "evaluate.1=minimal-pairs",
        "conditions.cars.texts=[x, y, z]",
    )

    assert (mine.read.pool, mine.ablate.controls.random_global) == ("mean", 3)
    assert [name for name, _ in mine.tasks] == ["perplexity", "minimal-pairs"]
    assert mine.conditions["cars"].texts == ("x", "y", "z")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "read.pool=meen",
            "--set read.pool=meen: read.pool is \"meen\"; did you mean 'mean'? it must be one of "
            "last, mean, max, cls, none",
        ),
        (
            "read.pol=mean",
            "--set read.pol=mean: unknown key 'pol' in read; did you mean 'pool'? allowed: sites, "
            "pool, response, tokens, max_tokens, lowercase",
        ),
        ("read.pool", "--set read.pool: must be KEY=VALUE, e.g. --set read.pool=mean"),
        ("=3", "--set =3: must be KEY=VALUE, e.g. --set read.pool=mean"),
        ("name.x=3", "--set name.x=3: there is no 'x' inside 'mine'; it is text"),
        (
            "conditions.faces.texts.7=x",
            "--set conditions.faces.texts.7=x: 7 is not an index of that list; it has "
            "2 items, counted from 0",
        ),
        (
            "read={pool: mean",
            "--set read={pool: mean:1: not YAML: while parsing a flow mapping, expected ',' or "
            "'}', but got '<stream end>'; check indentation, quotes and colons",
        ),
    ],
)
def test_faulty_override(change: str, message: str) -> None:
    """The message names the override, not a line of the file."""
    assert error_of(MINIMAL, change) == message


def test_changed() -> None:
    """A loaded contrast can be changed like a file; its base and other places stay."""
    mine = load(MINIMAL + "select: {percent: 5}\n")

    changed = mine.with_changes(["select={k: 7}", "ablate.controls.random-global=3"])

    assert changed.select == Select(k=7)
    assert changed.ablate.controls.random_global == 3
    assert changed.to_json() == {
        **mine.to_json(),
        "select": changed.to_json()["select"],
        "ablate": changed.to_json()["ablate"],
    }
    assert changed.base == mine.base
    assert str(changed.error_at(("conditions", "cars"), "x")) == "mine.yaml:7: x"
    assert str(changed.error_at(("select", "k"), "x")) == "--set select={k: 7}: x"


def test_changed_without_a_file() -> None:
    """A contrast made in Python can be changed like one that was loaded."""
    made = Contrast.model_validate(yaml.safe_load(MINIMAL))

    assert made.with_changes(["read.pool=mean"]).read.pool == "mean"
    with pytest.raises(ContrastError, match=r"^--set split=x: split is \"x\"; it must be one of"):
        made.with_changes(["split=x"])


# Faults of the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml:1: the file is empty; it needs at least `name:`"),
        ("# only a comment\n", "mine.yaml:1: the file is empty; it needs at least `name:`"),
        (
            "- a\n",
            "mine.yaml:1: holds a list; it must be a mapping, `key: value` line by line, starting "
            "with `name:`",
        ),
        (
            MINIMAL + "name: other\n",
            "mine.yaml:9: key 'name' appears twice, first in line 1; keep one of them",
        ),
        (
            MINIMAL + "read:\n\tpool: mean\n",
            "mine.yaml:10: not YAML: while scanning for the next token, found character '\\t' that "
            "cannot start any token; indent with spaces, not tabs",
        ),
        (
            MINIMAL + "notes: !!python/object/apply:os.system ['touch hacked']\n",
            "mine.yaml:9: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed; a "
            "contrast file holds plain values only",
        ),
        (
            MINIMAL + "12: a\n",
            "mine.yaml:9: key 12 is not text; write it in quotes if it is intended",
        ),
        (
            MINIMAL + "? [a]\n: b\n",
            "mine.yaml:9: a key must be text, not a list, a mapping or an alias",
        ),
        (MINIMAL + "notes: *a\n", "mine.yaml:9: alias *a has no complete anchor &a before it"),
        (MINIMAL + "notes: &a [*a]\n", "mine.yaml:9: alias *a has no complete anchor &a before it"),
        (
            MINIMAL + "---\nname: two\n",
            "mine.yaml:9: a second document begins; write one contrast per file",
        ),
        (MINIMAL + f"notes: {'[' * 50}\n", "mine.yaml:9: nested deeper than 40 levels"),
    ],
)
def test_strict_yaml(text: str, message: str) -> None:
    """Anything but plain values under text keys is reported with its line."""
    assert error_of(text) == message


def test_no_tag_is_executed() -> None:
    """A Python tag is refused before anything is constructed."""
    error_of(MINIMAL + "notes: !!python/object/apply:pathlib.Path.touch ['hacked']\n")

    assert not Path("hacked").exists()


def test_alias_bomb() -> None:
    """Aliases count for all they expand to, so that nine lines cannot mean a billion values."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )

    assert error_of(bomb) == (
        "mine.yaml:4: more than 10,000 values, aliases counted in full; move stimuli into a table "
        "and name that with `file:`"
    )


def test_too_large() -> None:
    """More than a megabyte is no contrast file."""
    assert error_of(MINIMAL + f"notes: {'a' * 1_000_000}\n") == (
        "mine.yaml:1: 1,000,157 bytes; a contrast file has at most 1,000,000; move its stimuli "
        "into a table and name that with `file:`"
    )


def test_not_utf8() -> None:
    """Another encoding is reported with the line of the first byte that is not UTF-8."""
    Path("mine.yaml").write_bytes(MINIMAL.replace("me\n", "mé\n").encode("latin-1"))

    with pytest.raises(ContrastError) as caught:
        contrast.load("mine.yaml")
    assert str(caught.value) == "mine.yaml:4: byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_byte_order_mark() -> None:
    """The mark that Windows editors write is no part of the first key."""
    Path("mine.yaml").write_text(MINIMAL, encoding="utf-8-sig")

    assert contrast.load("mine.yaml").name == "mine"


def test_no_such_file() -> None:
    """A path that does not exist is reported unchanged."""
    with pytest.raises(ContrastError, match=r"^nowhere/mine\.yaml: no such file$"):
        contrast.load("nowhere/mine.yaml")


def test_unknown_name_lists_what_exists() -> None:
    """The message lists what is shipped and explains how to use another file."""
    expected = (
        r"^no contrast named 'langage'; did you mean 'language'\? shipped: .*language, .*; "
        r"for your own, pass the path of a \.yaml file$"
    )
    with pytest.raises(ContrastError, match=expected):
        contrast.load("langage")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "title:",
            "tilte:",
            "mine.yaml:1: missing key 'title'\n"
            "mine.yaml:2: unknown key 'tilte'; did you mean 'title'? allowed: name, title, "
            "modality, source, licence, notes, conditions, contrast, against, "
            "statistic, balance, read, split, select, ablate, evaluate, verdict, examples, "
            "evaluate_limit",
        ),
        (
            "{texts: [a b, a c]}",
            "{text: [a b, a c]}",
            "mine.yaml:6: unknown key 'text' in conditions.faces; did you mean 'texts'? allowed: "
            "texts, file, images, builtin, download, hub, config, split, revision, streaming, per, "
            "column, names, where, limit, local",
        ),
        (
            "{texts: [a b, a c]}",
            "{limit: 3}",
            "mine.yaml:6: conditions.faces: a source is exactly one of texts, file, images, "
            "builtin, download, hub; this has none",
        ),
        (
            "{texts: [a b, a c]}",
            "{texts: [a, b], file: a.csv}",
            "mine.yaml:6: conditions.faces: a source is exactly one of texts, file, images, "
            "builtin, download, hub; this has texts and file",
        ),
        (
            "[a b, a c]",
            "[a b, 7]",
            "mine.yaml:6: conditions.faces.texts.1 is 7; it must be text (in quotes if it looks "
            "like something else)",
        ),
        (
            "[a b, a c]",
            "[a b, '  ']",
            "mine.yaml:6: conditions.faces.texts: text 1 is blank; a stimulus needs at least one "
            "word",
        ),
        (
            "{texts: [a b, a c]}",
            "{builtin: sentence}",
            "mine.yaml:6: conditions.faces.builtin: no builtin generator is called 'sentence'; did "
            "you mean sentences? there are: arithmetic, copying, jabberwocky, minimal-pairs, "
            "multiple-demand, multiple-demand-paper, nonword-lists, rendered, sentences, "
            "theory-of-mind, word-lists; those of a file need --plugin FILE.py",
        ),
        (
            "{texts: [a b, a c]}",
            "{builtin: {generator: sentences, wrods: 3}}",
            "mine.yaml:6: conditions.faces.builtin: no option of sentences is called 'wrods'; did "
            "you mean words? there are: words",
        ),
        (
            "{texts: [a b, a c]}",
            "{download: {url: 'file:///etc', manifest: m.csv}}",
            'mine.yaml:6: conditions.faces.download.url is "file:///etc"; it must match pattern '
            "'^https?://\\S+$'",
        ),
        (
            "{texts: [a b, a c]}",
            "{file: a.csv, local: {file: b.csv}}",
            "mine.yaml:6: conditions.faces: local replaces sources without files where --stimuli "
            "is given; a 'file' source is read from that folder anyway; leave local out",
        ),
        (
            "modality: text",
            "modality: txt",
            "mine.yaml:3: modality is \"txt\"; did you mean 'text'? it must be one of text, image",
        ),
        (
            "modality: text",
            "modality:",
            "mine.yaml:3: modality is null; it must be one of text, image",
        ),
        (
            "name: mine",
            "name: a b/c",
            "mine.yaml:1: name: 'a b/c' is not a name; use letters, digits, '_' and '-', "
            "e.g. 'a-b-c'",
        ),
        (
            "cars: {",
            "c.rs: {",
            "mine.yaml:7: conditions.c.rs: 'c.rs' is not a name; use letters, digits, '_' and '-', "
            "e.g. 'c-rs'",
        ),
        (
            "faces > cars",
            "facs > cars",
            "mine.yaml:8: contrast: there is no condition 'facs'; did you mean 'faces'? "
            "conditions: faces, cars",
        ),
        (
            "faces > cars",
            "faces < cars",
            "mine.yaml:8: contrast: 'faces < cars' is not a comparison; write it like `a > b` or "
            "`a, b > c, d`",
        ),
        (
            "faces > cars",
            "faces > cars, faces",
            "mine.yaml:8: contrast: condition 'faces' is named twice; name it once, on one side",
        ),
        (
            "faces > cars",
            "{faces: 1, cars: -0.5}",
            "mine.yaml:8: contrast: weights must have both signs and sum to 0, these sum to 0.5; "
            "e.g. {a: 1, b: -0.5, c: -0.5}",
        ),
        (
            "faces > cars",
            "{faces: 1, cars: no}",
            'mine.yaml:8: contrast.cars is "no"; it must be a number',
        ),
        (
            "faces > cars",
            "{faces: 1, cars: -1}\nagainst: each",
            "mine.yaml:9: against: 'each' needs a contrast of the form `a > b, c`, not weights",
        ),
    ],
)
def test_errors_of_conditions_and_comparison(old: str, new: str, message: str) -> None:
    """Each mistake is reported with file, line, key and what would be right."""
    assert old in MINIMAL
    assert error_of(MINIMAL.replace(old, new, 1)) == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "select: {percent: 140}",
            "mine.yaml:9: select.percent is 140; it must be less than or equal to 100",
        ),
        ("select: {percent: '1'}", 'mine.yaml:9: select.percent is "1"; it must be a number'),
        ("select: {percent: true}", "mine.yaml:9: select.percent is true; it must be a number"),
        (
            "select: {percent: .nan}",
            "mine.yaml:9: select.percent is NaN; it must be a finite number",
        ),
        ("select: {k: 1.5}", "mine.yaml:9: select.k is 1.5; it must be a whole number"),
        (
            "select: {k: 3, fdr: 0.05}",
            "mine.yaml:9: select: exactly one of k, percent, fdr, percentile; this has k and fdr; "
            "keep one (--set select={k: 100} replaces all of them)",
        ),
        (
            "select: {k: 3, percent: 1}",
            "mine.yaml:9: select: exactly one of k, percent, fdr, "
            "percentile; this has k and percent; "
            "keep one (--set select={k: 100} replaces all of them)",
        ),
        (
            "select: {k: 3, tail: bottom}",
            "mine.yaml:9: select: tail goes with percent, not with k; leave it out",
        ),
        (
            "select: {percent: 3, seed: 1}",
            "mine.yaml:9: select: seed is for a percent of units in "
            "a percentile range; leave it out",
        ),
        (
            "select: {percentile: [50, 50]}",
            "mine.yaml:9: select.percentile: [50.0, 50.0] is not a "
            "range; percentiles are [LOW, HIGH] with 0 <= LOW < HIGH <= 100",
        ),
        ("select: 1", "mine.yaml:9: select is 1; it must be a mapping"),
        (
            "ablate: {mode: [zero, maen]}",
            "mine.yaml:9: ablate.mode.1: there is no mode 'maen'; "
            "did you mean 'mean'? modes are zero, mean, resample, noise, add, scale:G and add:G, "
            "e.g. scale:0.5",
        ),
        (
            "ablate: {mode: 'scale:nan'}",
            "mine.yaml:9: ablate.mode.0: there is no mode "
            "'scale:nan'; did you mean 'scale:0.5'? modes are zero, mean, resample, noise, add, "
            "scale:G and add:G, e.g. scale:0.5",
        ),
        (
            "ablate:\n  percent:\n  - 1\n  - 0",
            "mine.yaml:12: ablate.percent.1 is 0; it must be greater than 0",
        ),
        (
            "select: {percentile: [80]}",
            "mine.yaml:9: missing item 1 in select.percentile",
        ),
        (
            "select: {percentile: [80, 90, 95]}",
            "mine.yaml:9: select.percentile is [80, 90, 95]; it must have at most 2 items",
        ),
        (
            "ablate: {percent: []}",
            "mine.yaml:9: ablate.percent is []; it must be a list of at least one",
        ),
        (
            "ablate: {controls: {randm: 3}}",
            "mine.yaml:9: unknown key 'randm' in ablate.controls; "
            "did you mean 'random'? allowed: random, random-global, magnitude-matched, shuffled, "
            "bottom, opposite, range; those of a file need --plugin FILE.py",
        ),
        (
            "verdict: {primary: perplexty}",
            "mine.yaml:9: verdict.primary: there is no task 'perplexty'; "
            f"did you mean 'perplexity'? tasks: {', '.join(TASKS)}",
        ),
        (
            "verdict: {primary: perplexity//x}",
            "mine.yaml:9: verdict.primary: 'perplexity//x' is no outcome; write TASK, TASK/METRIC "
            "or TASK/METRIC/CONDITION, e.g. perplexity/perplexity/sentences",
        ),
        (
            "verdict: {primary: perplexity, against: perplexity}",
            "mine.yaml:9: verdict.against: 'perplexity' is the primary outcome itself",
        ),
        (
            "verdict: {dose: 0}",
            "mine.yaml:9: verdict.dose is 0; it must be greater than 0",
        ),
        (
            "read: {lowercase: yes}",
            'mine.yaml:9: read.lowercase is "yes"; it must be true or false',
        ),
        (
            "read: {max_tokens: 0}",
            "mine.yaml:9: read.max_tokens is 0; it must be greater than or equal to 1",
        ),
        (
            "evaluate:\n  - a: {}\n    b: {}",
            "mine.yaml:10: evaluate.0: a task is its name, or one "
            "name with its options below it; this has a, b; start each task with its own dash",
        ),
        (
            "evaluate: [a: 3]",
            "mine.yaml:9: evaluate.0: the options of task 'a' must be a mapping, `key: value`",
        ),
    ],
)
def test_errors_of_protocol(more: str, message: str) -> None:
    """Each mistake is reported with file, line, key and what would be right."""
    assert error_of(f"{MINIMAL}{more}\n") == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "ablate: {percent: [1, 20], controls: {range: [80, 90]}}",
            "ablate.controls.range: the range from 80 to 90 holds 10 % of the units, but 20 % are "
            "ablated; widen it, or lower the dose",
        ),
        (
            "select: {percent: 11}\nablate: {controls: {range: [80, 90]}}",
            "ablate.controls.range: the range from 80 to 90 holds 10 % of the units, but 11 % are "
            "ablated; widen it, or lower the dose",
        ),
        (
            "ablate:\n  percent: 51\n  controls: {random-global: 2}",
            "ablate.controls.random-global: masks without the ablated units cannot hold as many: "
            "51 % of the units are ablated; lower the dose to 50 or less, or leave random-global "
            "out",
        ),
        (
            "select: {percentile: [20, 90]}\nablate: {controls: {random-global: 2}}",
            "ablate.controls.random-global: masks without the ablated units cannot hold as many: "
            "70 % of the units are ablated; lower the dose to 50 or less, or leave random-global "
            "out",
        ),
        (
            "select: {percent: 50.5}\nablate: {controls: {opposite: true}}",
            "ablate.controls.opposite: masks without the ablated units cannot hold as many: "
            "50.5 % of the units are ablated; lower the dose to 50 or less, or leave opposite out",
        ),
        (
            "ablate: {percent: [1, 60], controls: {magnitude-matched: 1}}",
            "ablate.controls.magnitude-matched: masks without the ablated units cannot hold as "
            "many: 60 % of the units are ablated; lower the dose to 50 or less, or leave "
            "magnitude-matched out",
        ),
        (
            "ablate: {controls: {magnitude-matched: true}}",
            "ablate.controls.magnitude-matched is true; it must be a whole number",
        ),
        (
            "ablate: {controls: {magnitude-matched: -1}}",
            "ablate.controls.magnitude-matched is -1; it must be greater than or equal to 0",
        ),
        (
            "ablate: {controls: {opposite: 3}}",
            "ablate.controls.opposite is 3; it must be true or false",
        ),
        (
            "select: {percentile: [80, 90], percent: 20}",
            "select.percent: 20 % of all units, but the percentiles 80 and 90 hold 10 % between "
            "them; lower percent or widen the range",
        ),
        (
            "select: {percentile: [80, 90]}\nablate: {controls: {range: [80, 90]}}",
            "ablate.controls.range: these are the selected units themselves; name another range",
        ),
        (
            "ablate: {mode: [zero, mean, zero]}",
            "ablate.mode: 'zero' does the same as 'zero' before it; keep one of them",
        ),
        (
            "ablate: {mode: ['scale:0.5', 'scale:.50']}",
            "ablate.mode: 'scale:.50' does the same as 'scale:0.5' before it; keep one of them",
        ),
        (
            "ablate: {mode: [zero, 'scale:0']}",
            "ablate.mode: 'scale:0' does the same as 'zero' before it; keep one of them",
        ),
        ("ablate: {percent: [1, 2, 1.0]}", "ablate.percent: 1 appears twice; keep one of them"),
        ("read: {sites: [a, a]}", "read.sites: 'a' appears twice; keep one of them"),
        (
            "ablate: {mode: 'scale:1e999'}",
            "ablate.mode.0: there is no mode 'scale:1e999'; did you mean 'scale:0.5'? modes are "
            "zero, mean, resample, noise, add, scale:G and add:G, e.g. scale:0.5",
        ),
        (
            "ablate: {controls: {random: 1000000}}",
            "ablate.controls.random is 1000000; it must be less than or equal to 10000",
        ),
        (
            "select: {percentile: [80, 90], percent: 5, seed: 4294967296}",
            "select.seed is 4294967296; it must be less than or equal to 4294967295",
        ),
        (
            "evaluate: [perplexity, {choice: {}}, perplexity]",
            "evaluate.2: task 'perplexity' is named twice; give it several conditions instead",
        ),
        (
            "split: none\nevaluate_limit: 3",
            "evaluate_limit: with `split: none` the same stimuli localize and evaluate; write "
            "`split: half`, or give the conditions a limit",
        ),
    ],
)
def test_parts_that_contradict_each_other(more: str, message: str) -> None:
    """Contradictions within a file are refused when it is loaded, with the line of the part."""
    location, _, text = error_of(f"{MINIMAL}{more}\n").partition(": ")

    assert text == message
    last = "controls" if "controls" in message.split(":")[0] else message.split(":")[0]
    lines = f"{MINIMAL}{more}".splitlines()
    assert last.split(".")[0] in lines[int(location.removeprefix("mine.yaml:")) - 1]


@pytest.mark.parametrize(
    "more",
    [
        "ablate: {percent: [1, 10], controls: {range: [80, 90]}}",
        "ablate: {percent: 50, controls: {random-global: 2, bottom: true}}",
        "ablate: {percent: 50, controls: {magnitude-matched: 2, opposite: true}}",
        "ablate: {percent: 60, controls: {magnitude-matched: 0, opposite: false}}",
        "ablate: {percent: 100}",
        "select: {percentile: [80, 90], percent: 10}",
        "select: {percent: 5, tail: bottom}\nablate: {controls: {bottom: true}}",
        "select: {k: 3}\nablate: {controls: {range: [80, 80.1], random-global: 1}}",
        "ablate: {mode: [zero, mean, resample, noise, 'scale:0.5', 'scale:-0.5']}",
    ],
)
def test_parts_that_fit_each_other(more: str) -> None:
    """Nothing is refused that can be done."""
    assert load(f"{MINIMAL}{more}\n").name == "mine"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("texts: [a b]", "conditions.faces.texts: only 1 stimulus; a variance needs"),
        ("{texts: [a, b, c], limit: 1}", "conditions.faces.limit: only 1 stimulus; a variance"),
        ("{builtin: sentences, limit: 1}", "conditions.faces.limit: only 1 stimulus; a variance"),
        (
            "builtin: {generator: sentences, words: 40}",
            "conditions.faces.builtin: option words of sentences is 40; it must lie between 5 and "
            "18",
        ),
        (
            "builtin: {generator: multiple-demand-paper, seed: 4294967296}",
            "conditions.faces.builtin.seed is 4294967296; it must be less than or equal to "
            "4294967295",
        ),
        (
            "download: {url: 'http://[1', manifest: m.csv}",
            "conditions.faces.download.url: 'http://[1' has no usable host; write it like",
        ),
        (
            "download: {url: 'http://x:y/', manifest: m.csv}",
            "conditions.faces.download.url: 'http://x:y/' has no usable host; write it like",
        ),
    ],
)
def test_sources_that_cannot_be_read(source: str, message: str) -> None:
    """So is a source that no machine could read, or with too few stimuli for a variance."""
    braces = source if source.startswith("{") else f"{{{source}}}"
    reported = error_of(MINIMAL.replace("{texts: [a b, a c]}", braces))

    assert reported.startswith(f"mine.yaml:6: {message}")


def test_all_errors_at_once() -> None:
    """All mistakes of a file are reported, a line each, with their own locations."""
    text = MINIMAL.replace("source: me", "sauce: me") + "read: {pool: maen}\nsplit: thirds\n"

    lines = error_of(text).splitlines()

    assert [line.split(": ")[0] for line in lines] == [f"mine.yaml:{n}" for n in (1, 9, 10, 4)]


def test_a_task_can_report_the_line_of_its_options() -> None:
    """`error_at` and `validation_error` turn a place in the contrast into file and line."""
    mine = load(MINIMAL + "evaluate:\n  - perplexity\n  - choice:\n      shots: 0\n")

    class Options(BaseModel):
        shots: int = Field(ge=1)

    with pytest.raises(ValidationError) as caught:
        Options.model_validate(mine.tasks[1][1])
    reported = mine.validation_error(caught.value, ("evaluate", 1, "choice"))

    assert str(reported) == (
        "mine.yaml:12: evaluate.1.choice.shots is 0; it must be greater than or equal to 1"
    )
    assert str(mine.error_at(("evaluate", 1), "no such task")) == "mine.yaml:11: no such task"


def test_python_users_get_the_same_errors() -> None:
    """The models refuse the same mistakes when they are made in Python."""
    with pytest.raises(ValidationError, match=r"did you mean 'percent'\? allowed: k, percent"):
        Select.model_validate({"percnt": 3})


def test_json_schema_covers_every_key() -> None:
    """Editors can complete contrast files: the JSON schema can be made and knows every key."""
    schema = Contrast.model_json_schema()

    assert schema["required"] == ["name", "title", "modality", "source", "conditions", "contrast"]
    assert schema["additionalProperties"] is False


@given(text=st.text("ab1:-?[]{},&*!|>'\"%@`#\n\t \x00~.", max_size=60) | st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is a contrast or is refused with a line per error."""
    reported = error_of(text)

    assert all(line.startswith("mine.yaml:") for line in reported.splitlines())
