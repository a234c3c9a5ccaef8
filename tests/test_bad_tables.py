"""Errors of tables and contrast files are one line that names the file and the row."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from deeploc import stimuli
from deeploc.contrast import model as contrast
from deeploc.errors import ContrastError

MINE = """\
name: mine
title: mine
modality: text
source: me
conditions:
  a: {%s, where: {label: S}}
  b: {texts: [x, y]}
contrast: a > b
"""
BOMB = "\n".join(f"k{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9))
TEN_MEGABYTES = "a" * 10_000_000


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reported(source: str, after: str = "") -> str:
    """Return the error of loading the contrast, without the folder and the condition."""
    Path("mine.yaml").write_text(MINE % source + after)
    with pytest.raises(ContrastError) as caught:
        stimuli.load(contrast.load("mine.yaml"), seed=0)
    declared = str(caught.value).replace(f"{Path.cwd()}/", "")
    assert "\n" not in declared
    return declared.removeprefix("mine.yaml:6: condition 'a': ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "txt,label\na,S\n", "t.csv:2: no column 'text'; did you mean 'txt'? there are:"),
        ("t.csv", "text,lable\na,S\n", "t.csv:2: no column 'label'; did you mean 'lable'?"),
        ("t.csv", "text,label\na,N\nb,\n", "where (label: S) keeps none of 2 rows; 'label' holds"),
        ("t.csv", "text,label\na,S\n ,S\n", "t.csv:3: no text in text; fill the row, or leave it"),
        ("t.csv", f"text,label\na,S\n{TEN_MEGABYTES},S\n", "t.csv:3: not a table: field larger"),
        ("t.csv", "text,label\na,S\ngr\xfcn,S\n", "t.csv:3: byte 0xfc is not UTF-8; save the file"),
        ("t.csv", "text,label\na,S\nb\n", "t.csv:3: 1 cells but the header has 2 columns;"),
        ("t.csv", "text,label\na,S\nb,S,c\n", "t.csv:3: 3 cells but the header has 2 columns;"),
        ("t.tsv", "text\tlabel\na\tS\nb\n", "t.tsv:3: 1 cells but the header has 2 columns;"),
        ("t.jsonl", '{"text": "a", "label": "S"}\n{"text": "b"}\n', "t.jsonl:2: no column 'label'"),
        (
            "t.jsonl",
            f'{{"text": "a", "label": "S"}}\n{{"text": "{TEN_MEGABYTES}", "label": "S"}}\n',
            "t.jsonl:2: column 'text' holds 10,000,000 characters; at most 1,000,000 are allowed",
        ),
        ("t.jsonl", '{"text": "a", "label": "S"}\n{"text', "t.jsonl:2: not JSON: Unterminated"),
        ("t.parquet", "not parquet", "t.parquet: cannot be read as parquet: "),
        ("t.parquet", "", "t.parquet: cannot be read as parquet: "),
    ],
    ids=range(14),
)
def test_tables(name: str, text: str, message: str) -> None:
    """The wrong row is named, or the file if all of it is wrong."""
    Path(name).write_bytes(text.encode("latin-1"))

    assert reported(f"file: {name}, column: text").startswith(message)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", None], "label": ["S", "S"]}, "t.parquet:1: no column 'text'"),
        ({"text": ["a", " "], "label": ["S", "S"]}, "t.parquet:1: no text in text; fill the row"),
        ({"text": ["a", "b"], "label": ["S", None]}, "t.parquet:1: no column 'label'"),
        (
            {"text": ["a", TEN_MEGABYTES], "label": ["S", "S"]},
            "t.parquet:1: column 'text' holds 10",
        ),
        (
            {"text": [b"a", b"\xff"], "label": ["S", "S"]},
            "t.parquet:0: no column 'text'; there are",
        ),
    ],
    ids=range(5),
)
def test_parquet(columns: dict[str, list[object]], message: str) -> None:
    """Rows of a parquet file are counted from 0."""
    parquet.write_table(pa.table(columns), "t.parquet")

    assert reported("file: t.parquet, column: text").startswith(message)


def test_parquet_with_a_column_twice() -> None:
    """Which of the two is meant cannot be known."""
    parquet.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), "t.parquet")

    assert reported("file: t.parquet").startswith(
        "t.parquet: column 'text' twice; name each column"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,S\nb,T\n", "t.csv:3: there is no label 'T'; there are: N, S (or 0 to 1)"),
        ("a,0\nb,2\n", "t.csv:3: there is no label '2'; there are: N, S (or 0 to 1)"),
        ("a,0\nb,\n", "t.csv:3: there is no label ''; there are: N, S (or 0 to 1)"),
        ("a,0\nb,-1\n", "t.csv:3: there is no label '-1'; there are: N, S (or 0 to 1)"),
    ],
)
def test_unknown_label_of_a_row(rows: str, message: str) -> None:
    """Where the contrast names the labels, a row can have no other."""
    Path("t.csv").write_text(f"text,label\n{rows}")

    assert reported("file: t.csv, names: {label: [N, S]}") == message


def test_unknown_label_among_others() -> None:
    """A label that no row has is reported, also where others exist."""
    Path("t.csv").write_text("text,label\na,anger\nb,joy\n")
    Path("mine.yaml").write_text(MINE.replace("label: S", "label: [anger, joi]") % "file: t.csv")

    with pytest.raises(ContrastError, match=r"no row has label 'joi'; did you mean 'joy'\? there"):
        stimuli.load(contrast.load("mine.yaml"), seed=0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("read:\n\tpool: last\n", "mine.yaml:10: not YAML: while scanning for the next token"),
        ("title: again\n", "mine.yaml:9: key 'title' appears twice, first in line 2; keep one"),
        (f"{BOMB}\n", "mine.yaml:13: more than 10,000 values, aliases counted in full"),
        (
            "notes: !!python/object/apply:os.mkdir [hacked]\n",
            "mine.yaml:9: tag 'tag:yaml.org,2002:",
        ),
        ("notes: !!python/object/new:os.mkdir [hacked]\n", "mine.yaml:9: tag 'tag:yaml.org,2002:"),
    ],
)
def test_contrast_files(more: str, message: str) -> None:
    """The wrong line is named, and nothing in the file is executed."""
    assert reported("texts: [a, b]", more).startswith(message)
    assert not Path("hacked").exists()


def test_whole_files() -> None:
    """With `per: file` each text file is a stimulus, named by the file, on one line."""
    Path("1_story.txt").write_text("It was  late.\nThe\tdog\n\nslept. \n")
    Path("2_story.txt").write_bytes(b"One line.\r\n")
    Path("mine.yaml").write_text(
        MINE.replace(", where: {label: S}", ", per: file") % "file: '*.txt'"
    )

    loaded = stimuli.load(contrast.load("mine.yaml"), seed=0)

    assert [(s.id, s.content) for s in loaded["a"]] == [
        ("1_story.txt", "It was late. The dog slept."),
        ("2_story.txt", "One line."),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("1.txt", " \n\n", "1.txt: no rows; a table needs at least one below its header"),
        ("1.csv", "text\na\n", "1.csv: `per: file` reads .txt files; leave it out for tables"),
    ],
)
def test_errors_of_whole_files(name: str, text: str, message: str) -> None:
    """An empty file is no stimulus, and a table no text."""
    Path(name).write_text(text)

    assert reported(f"file: {name}, per: file") == message
