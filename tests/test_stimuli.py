"""Stimuli of every kind of source: none lost, duplicated or reordered; errors name the row."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeploc import stimuli
from deeploc.contrast import model as contrast
from deeploc.contrast.model import Contrast
from deeploc.errors import ContrastError
from deeploc.generators import registry as builtin
from deeploc.stimuli import Source, Stimulus

SHARED = Path(__file__).parents[1].parent / "shared"
LANGLOC = SHARED / "assets" / "stimuli" / "langloc"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def two(a: object, b: object, **more: object) -> Contrast:
    """Return the contrast a > b of two sources."""
    declared = {
        "name": "t",
        "title": "t",
        "modality": "text",
        "source": "tests",
        "contrast": "a > b",
    }
    declared |= {"conditions": {"a": a, "b": b}} | more
    return Contrast.from_json(json.loads(json.dumps(declared)), Path.cwd())


def contents(group: tuple[Stimulus, ...]) -> list[str]:
    return [str(stimulus.content) for stimulus in group]


def rows(**source: object) -> list[stimuli.Record]:
    return stimuli.records(Source.model_validate(source), base=Path.cwd())


def error_of(**source: object) -> str:
    """Return the error of a contrast with this source, without the name of the condition."""
    with pytest.raises(ContrastError) as caught:
        stimuli.load(two(source, {"texts": ["x", "y"]}), seed=0)
    reported = str(caught.value)
    assert reported.startswith("contrast 't': condition 'a': ")
    return reported.removeprefix("contrast 't': condition 'a': ").replace(f"{Path.cwd()}/", "")


def write(name: str, text: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return name


# Every kind of source


def test_texts() -> None:
    """Inline texts are numbered from 0; the space around them is no part of them."""
    loaded = stimuli.load(two({"texts": [" a b\n", "c"]}, {"texts": ["d", "e"]}), seed=0)

    assert loaded == {
        "a": (Stimulus("texts:0", "a b"), Stimulus("texts:1", "c")),
        "b": (Stimulus("texts:0", "d"), Stimulus("texts:1", "e")),
    }


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("t.csv", 'text,x\n"a, ""b""",1\n\n"c\nd",2\ne,3\n', [2, 4, 6]),
        ("t.tsv", 'text\tx\n"a, ""b"""\t1\n\n"c\nd"\t2\ne\t3\n', [2, 4, 6]),
        (
            "t.jsonl",
            '{"text": "a, \\"b\\"", "x": 1}\n\n{"text": "c\\nd"}\n{"text": "e"}\n',
            [1, 3, 4],
        ),
    ],
)
def test_tables(name: str, text: str, lines: list[int]) -> None:
    """Quotes, line breaks in a cell and blank lines are read; ids name the line of the file."""
    loaded = stimuli.load(two({"file": write(name, text)}, {"texts": ["d", "e"]}), seed=0)

    assert loaded["a"] == (
        Stimulus(f"{name}:{lines[0]}", 'a, "b"'),
        Stimulus(f"{name}:{lines[1]}", "c\nd"),
        Stimulus(f"{name}:{lines[2]}", "e"),
    )


def test_txt() -> None:
    """A text file is a stimulus per line that is not empty; a page break ends no line."""
    result = rows(file=write("t.txt", "a b\r\n\r\n  c\x0cd \n\u2028e"))

    assert [(r.id, r.fields["text"]) for r in result] == [
        ("t.txt:1", "a b"),
        ("t.txt:3", "c\x0cd"),
        ("t.txt:4", "e"),
    ]


def test_byte_order_mark_is_no_part_of_the_first_column() -> None:
    """Excel begins its UTF-8 files with a mark."""
    assert rows(file=write("t.csv", b"\xef\xbb\xbftext\na\n"))[0].fields == {"text": "a"}


def test_json_values_become_text() -> None:
    """Numbers and booleans are written as in JSON; null is an absent field."""
    result = rows(file=write("t.jsonl", '{"a": 3, "b": true, "c": null, "d": [1, "x"], "e": "ñ"}'))

    assert result[0].fields == {"a": "3", "b": "true", "d": '[1, "x"]', "e": "ñ"}


def test_cells_up_to_a_megabyte() -> None:
    """A long text is read, and the limit of the csv module is what it was."""
    before = csv.field_size_limit()

    assert len(rows(file=write("t.csv", f"text\n{'a' * 900_000}\n"))[0].fields["text"]) == 900_000
    assert csv.field_size_limit() == before


def test_several_columns_are_joined_by_one_space() -> None:
    """Words in columns make a sentence; empty cells leave no gap."""
    write("t.csv", "w1,w2,w3\nThe ,dog,barks\nIt,,rains\n")

    loaded = stimuli.load(
        two({"file": "t.csv", "column": ["w1", "w2", "w3"]}, {"texts": ["x", "y"]}), seed=0
    )

    assert contents(loaded["a"]) == ["The dog barks", "It rains"]


def test_the_only_column_needs_no_name() -> None:
    """A table of one column is read, whichever name it has."""
    write("t.csv", "sentence\na b\nc d\n")

    loaded = stimuli.load(two({"file": "t.csv"}, {"texts": ["x", "y"]}), seed=0)

    assert contents(loaded["a"]) == ["a b", "c d"]


def test_where_keeps_rows_that_hold_one_of_the_values() -> None:
    """All columns of `where` must agree, each with one of its values."""
    write("t.csv", "text,kind,run\na,S,1\nb,N,1\nc,S,2\nd,J,1\n")

    result = rows(file="t.csv", where={"kind": ["S", "J"], "run": 1})

    assert [record.id for record in result] == ["t.csv:2", "t.csv:5"]


def test_globs_are_sorted_and_files_named_once() -> None:
    """The order of files is that of the patterns, sorted within each, on every file system."""
    for name in ("b", "a", "c"):
        write(f"{name}.txt", f"{name}\n")

    result = rows(file=["c.txt", "*.txt"])

    assert [record.id for record in result] == ["c.txt:1", "a.txt:1", "b.txt:1"]


def test_equal_file_names_keep_their_folder() -> None:
    """Where two files share a name, their ids differ."""
    write("one/t.txt", "a\n")
    write("two/t.txt", "b\n")

    assert [r.id for r in rows(file="*/t.txt")] == ["one/t.txt:1", "two/t.txt:1"]


def test_a_file_name_may_look_like_a_glob() -> None:
    """A path that exists is that file."""
    write("t[1].txt", "a\n")

    assert len(rows(file="t[1].txt")) == 1


def test_absolute_paths_and_globs(tmp_path: Path) -> None:
    """A path need not lie below the contrast file."""
    write("t.txt", "a\n")

    assert rows(file=str(tmp_path / "t.txt")) == rows(file=str(tmp_path / "*.txt"))


def test_builtin_gives_the_generators_records() -> None:
    """`limit` asks for so many; seed and options are the generator's."""
    result = rows(builtin={"generator": "sentences", "seed": 3, "words": 6}, limit=5)

    assert [r.fields for r in result] == builtin.generate("sentences", 5, 3, {"words": 6})
    assert [r.id for r in result] == [f"sentences:{i}" for i in range(5)]


def test_lowercase() -> None:
    """`read.lowercase` lowers texts as they are loaded."""
    mine = two({"texts": ["A B", "Ça"]}, {"texts": ["X", "Y"]}, read={"lowercase": True})

    assert contents(stimuli.load(mine, seed=0)["a"]) == ["a b", "ça"]


# Read from the user's folder instead


def test_files_move_to_the_folder() -> None:
    """With a folder, file patterns start there, not beside the contrast."""
    write("t.txt", "a\nb\n")
    write("mine/t.txt", "c\nd\n")
    both = two({"file": "t.txt"}, {"file": "*.txt"})

    loaded = stimuli.load(both, seed=0, folder=Path("mine"))

    assert contents(loaded["a"]) == contents(loaded["b"]) == ["c", "d"]


def test_local_says_how_a_generated_condition_is_read_from_the_folder() -> None:
    """`local` brings its own file, column and where; the limit stays."""
    write("mine/t.csv", "s,kind\na,S\nb,N\nc,S\nd,S\n")
    local = {"file": "*.csv", "column": "s", "where": {"kind": "S"}}
    both = two(
        {"builtin": "sentences", "limit": 2, "local": local}, {"file": "t.csv", "column": "s"}
    )

    loaded = stimuli.load(both, seed=0, folder=Path("mine"))

    assert len(loaded["a"]) == 2
    assert set(contents(loaded["a"])) < {"a", "c", "d"}
    assert contents(loaded["b"]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"builtin": "sentences"},
            "its source is 'builtin', which --stimuli replaces only where the contrast names the "
            "files, e.g. `local: {file: '*.txt'}`; add that, or leave --stimuli out",
        ),
        (
            {"file": "/t.txt"},
            "'/t.txt' is an absolute path, which --stimuli cannot move; make it relative",
        ),
    ],
)
def test_sources_that_no_folder_replaces(source: dict[str, str], message: str) -> None:
    """The user's folder is never ignored in silence."""
    with pytest.raises(ContrastError) as caught:
        stimuli.load(two(source, {"texts": ["x", "y"]}), seed=0, folder=Path())
    assert str(caught.value) == f"contrast 't': condition 'a': {message}"


# Faults


@pytest.mark.parametrize(
    ("name", "text", "more", "message"),
    [
        (
            "t.csv",
            "sentence,x\na,b\n",
            {"column": "sentnce"},
            "t.csv:2: no column 'sentnce'; did you mean 'sentence'? there are: sentence, x",
        ),
        (
            "t.csv",
            "sentence,x\na,b\n",
            {"where": {"kind": "S"}},
            "t.csv:2: no column 'kind'; there are: sentence, x",
        ),
        (
            "t.csv",
            "sentence,x\na,b\n",
            {},
            "t.csv:2: which column is the text? there are sentence, x; name one or several with "
            "`column:`",
        ),
        (
            "t.csv",
            "text,k\na,S\nb,N\nc,S\n",
            {"where": {"k": "X"}},
            "where (k: X) keeps none of 3 rows; 'k' holds N, S",
        ),
        (
            "t.csv",
            "text,x\na,b\n ,b\n",
            {},
            "t.csv:3: no text in text; fill the row, or leave it out",
        ),
        (
            "t.csv",
            "text,x\na,b,c\n",
            {},
            "t.csv:2: 3 cells but the header has 2 columns; put a cell that contains ',' in double "
            "quotes",
        ),
        (
            "t.csv",
            "text,text\na,b\n",
            {},
            "t.csv:1: the header has column 'text' twice; name each column once",
        ),
        (
            "t.csv",
            "text,\na,b\n",
            {},
            "t.csv:1: the header has a column without a name; name each column once",
        ),
        (
            "t.csv",
            'text,x\na,b\n"c,d\n',
            {},
            "t.csv:3: not a table: unexpected end of data; is a double quote missing or not "
            "doubled?",
        ),
        ("t.csv", "", {}, "t.csv: no rows; a table needs at least one below its header"),
        ("t.csv", "text\n", {}, "t.csv: no rows; a table needs at least one below its header"),
        (
            "t.csv",
            "text\na\nb\xe9\n".encode("latin-1"),
            {},
            "t.csv:3: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        (
            "t.csv",
            f"text\n{'a' * 1_000_001}\n",
            {},
            "t.csv:2: not a table: field larger than field limit (1000000); is a double quote "
            "missing or not doubled?",
        ),
        (
            "t.txt",
            f"a\n{'a' * 1_000_001}\n",
            {},
            "t.txt:2: column 'text' holds 1,000,001 characters; at most 1,000,000 are allowed; is "
            "a quote never closed?",
        ),
        (
            "t.jsonl",
            '{"text": "a"}\n{"text": }\n',
            {},
            "t.jsonl:2: not JSON: Expecting value: line 1 column 10 (char 9); each line must be "
            'one object, e.g. {"text": "a b c"}',
        ),
        (
            "t.jsonl",
            "[" * 100_000,
            {},
            "t.jsonl:1: not JSON: nested too deeply; each line must be one object, e.g. "
            '{"text": "a b c"}',
        ),
        ("t.jsonl", "[1]\n", {}, 't.jsonl:1: not a JSON object; write it like {"text": "a b c"}'),
        (
            "t.jsonl",
            '{"text": "a"}\n{"txt": "b"}\n',
            {"column": "text"},
            "t.jsonl:2: no column 'text'; did you mean 'txt'? there are: txt",
        ),
        (
            "t.xlsx",
            "a",
            {},
            "t.xlsx: cannot read '.xlsx'; there are readers for .csv, .tsv, .jsonl, .parquet, .txt",
        ),
        (
            "t.txt",
            "a\n",
            {},
            "only 1 stimulus; a variance needs at least two; add some, or raise its limit",
        ),
    ],
)
def test_errors_of_tables(
    name: str, text: str | bytes, more: dict[str, object], message: str
) -> None:
    """Each error names the file and the line, and what would be right."""
    assert error_of(file=write(name, text), **more) == message


def test_no_such_file() -> None:
    """The error of a pattern without a file names the folder that was searched."""
    assert error_of(file="*.csv") == (
        f"no file matches '*.csv' in {Path.cwd()}; relative paths start at the folder of the "
        "contrast file, or at the one that --stimuli DIR names"
    )


def test_errors_name_the_contrast_file_and_line() -> None:
    """An error in the data names the condition."""
    write("one.txt", "x")
    Path("c.yaml").write_text(
        "name: c\ntitle: c\nmodality: text\nsource: me\nconditions:\n"
        "  a: {file: one.txt}\n  b: {texts: [x, y]}\ncontrast: a > b\n"
    )

    with pytest.raises(ContrastError, match=r"^c\.yaml:6: condition 'a': only 1 stimulus; "):
        stimuli.load(contrast.load("c.yaml"), seed=0)


# Drawing: nothing lost, doubled or moved


_GROUPS = st.lists(
    st.lists(st.sampled_from("abcdefghijklmnop"), min_size=2, max_size=30), min_size=2, max_size=2
)


@given(groups=_GROUPS, seed=st.integers(0, 2**32), limit=st.none() | st.integers(2, 40))
def test_load_draws_from_its_own_condition(
    groups: list[list[str]], seed: int, limit: int | None
) -> None:
    """Each condition gives min(limit, n) of its own stimuli, each at most once, in their order."""
    loaded = stimuli.load(two(*({"texts": g} for g in groups)), seed=seed, limit=limit)

    for name, group in zip("ab", groups, strict=True):
        positions = [int(s.id.removeprefix("texts:")) for s in loaded[name]]
        assert contents(loaded[name]) == [group[i] for i in positions]
        assert positions == sorted(set(positions))
        assert len(positions) == min(limit or len(group), len(group))


@given(groups=_GROUPS, seed=st.integers(0, 2**32), limit=st.integers(2, 40))
def test_draw_depends_on_the_conditions_name_only(
    groups: list[list[str]], seed: int, limit: int
) -> None:
    """Which stimuli are sampled does not depend on the order of the conditions."""
    first = two(*({"texts": g} for g in groups)).to_json()
    turned = {**first, "conditions": dict(reversed(first["conditions"].items()))}

    sampled = [
        stimuli.load(Contrast.from_json(c, Path()), seed=seed, limit=limit) for c in (first, turned)
    ]

    assert sampled[0] == sampled[1]


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    """Asking for more adds stimuli and changes none."""
    samples = [stimuli.sample(range(50), n, 7, "x") for n in (5, 20, 49)]

    assert set(samples[0]) < set(samples[1]) < set(samples[2])


def test_draws_are_the_same_on_every_machine() -> None:
    """Fixed values: another sample would silently change every result."""
    group = {"a": [Stimulus(str(i), str(i)) for i in range(6)]}

    assert stimuli.sample("abcdefghij", 4, 0, "x") == ["a", "f", "h", "j"]
    assert contents(stimuli.split_half(group, 0)[0]["a"]) == ["0", "2", "3"]


@given(groups=_GROUPS, seed=st.integers(0, 2**32))
def test_halves_are_disjoint_and_exhaustive(groups: list[list[str]], seed: int) -> None:
    """Each stimulus is in exactly one half, and no content is in both."""
    loaded = stimuli.load(two(*({"texts": g} for g in groups)), seed=seed)

    halves = stimuli.split_half(loaded, seed)

    for name, group in loaded.items():
        first, second = halves[0][name], halves[1][name]
        assert Counter(first + second) == Counter(group)
        assert not set(contents(first)) & set(contents(second))
        assert list(first) == [s for s in group if s in first]


@given(n=st.integers(2, 101), seed=st.integers(0, 2**32))
def test_halves_of_different_stimuli_are_even(n: int, seed: int) -> None:
    """Without repeats the halves have ceil(n / 2) and floor(n / 2) stimuli."""
    group = {"a": [Stimulus(str(i), str(i)) for i in range(n)]}

    first, second = stimuli.split_half(group, seed)

    assert (len(first["a"]), len(second["a"])) == ((n + 1) // 2, n // 2)


def test_evaluate_limit_bounds_the_held_out_half_only() -> None:
    """All of the other half still localizes; a smaller limit is part of a larger one."""
    words = {c: {"texts": [f"{c}{i}" for i in range(20)]} for c in "ab"}
    sampled = {
        limit: stimuli.sample_stimuli(
            two(*words.values()).with_changes([f"evaluate_limit={limit}"]), seed=3
        )
        for limit in ("null", 4, 7)
    }

    for name in sampled["null"].held_out:
        whole, four, seven = (sampled[limit].held_out[name] for limit in ("null", 4, 7))
        assert (len(whole), len(four), len(seven)) == (10, 4, 7)
        assert sampled[4].counts[name] == 20
        assert set(four) < set(seven) < set(whole)
        assert sampled[4].localizing[name] == sampled["null"].localizing[name]


def test_evaluate_limit_needs_halves() -> None:
    """Without halves the limit would divide what localizes from what is evaluated."""
    words = {"texts": ["a", "b"]}

    with pytest.raises(ContrastError, match="evaluate_limit: with `split: none` the same stimuli"):
        two(words, words).with_changes(["split=none", "evaluate_limit=1"])


def test_halves_depend_on_the_seed() -> None:
    """Another seed is another division."""
    group = {"a": [Stimulus(str(i), str(i)) for i in range(40)]}

    assert stimuli.split_half(group, 0) != stimuli.split_half(group, 1)


def test_limit_of_a_source_is_sampled_with_the_seed() -> None:
    """The limit of a source samples all its rows, not the first ones, differently for each seed."""
    source = Source(file=(write("t.txt", "\n".join(map(str, range(100)))),), limit=10)

    sampled = [stimuli.records(source, base=Path.cwd(), seed=seed, name="a") for seed in (0, 0, 1)]

    assert sampled[0] == sampled[1] != sampled[2]
    assert [len(d) for d in sampled] == [10, 10, 10]


# Shipped contrasts and the published stimuli


@pytest.mark.parametrize(("name", "n"), [("language", 240), ("multiple-demand-paper", 100)])
def test_shipped_contrasts_load_offline(name: str, n: int) -> None:
    """What needs no download is complete and equal in number."""
    loaded = stimuli.load(contrast.load(name), seed=0)

    assert {len(group) for group in loaded.values()} == {n}


@pytest.mark.skipif(not LANGLOC.is_dir(), reason="the EvLab stimuli are not here")
@pytest.mark.parametrize("name", ["language", "language-paper", "language-brainscore"])
def test_evlab_stimuli(name: str) -> None:
    """The published files give 240 sentences and 240 non-word lists of twelve words."""
    loaded = stimuli.load(contrast.load(name), seed=0, folder=LANGLOC)

    assert {key: len(group) for key, group in loaded.items()} == {"sentences": 240, "nonwords": 240}
    assert {len(text.split()) for group in loaded.values() for text in contents(group)} == {12}
    assert loaded["sentences"][0].id == "langloc_fmri_run1_stim_set1.csv:2"


@pytest.mark.skipif(not LANGLOC.is_dir(), reason="the EvLab stimuli are not here")
def test_evlab_stimuli_are_lowercased_for_the_paper() -> None:
    """The paper's protocol reads lower-cased words joined by spaces."""
    loaded = stimuli.load(contrast.load("language-paper"), seed=0, folder=LANGLOC)

    expected = "just the barest suggestion of a heel is found on teenage pumps"
    assert loaded["sentences"][0].content == expected
