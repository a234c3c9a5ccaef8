"""Data sets of the hub: by name, the cache, a local folder, and a user's folder."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from deeploc import stimuli
from deeploc.contrast import model as contrast
from deeploc.contrast.model import Contrast
from deeploc.errors import ContrastError
from deeploc.stimuli import Source

from .fake_hub import NAME, SHA, serving

EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
MOODS = ("calm", "glad", "cross")
TEXTS = [f"i feel {i}" for i in range(9)]
CARD = """\
---
configs:
- config_name: moods
  data_files:
  - {split: train, path: moods/train-*}
  - {split: validation, path: moods/validation-*}
---
"""
SHARED = Path(__file__).parents[1].parent / "shared" / "assets" / "stimuli" / "emotion"
needs_emotion = pytest.mark.skipif(not SHARED.is_dir(), reason="the emotion data are not here")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own, with a cache of `datasets` of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def table(path: str, *, own_names: bool = False, labels: list[int] | None = None) -> Path:
    """Write nine texts with labels 0, 1, 2 in turn as a parquet file."""
    data = pa.table({"text": TEXTS, "label": labels or [i % 3 for i in range(9)]})
    if own_names:  # as `datasets` declares a ClassLabel
        feature = {"names": list(MOODS), "_type": "ClassLabel"}
        text = {"dtype": "string", "_type": "Value"}
        declared = {"info": {"features": {"text": text, "label": feature}}}
        data = data.replace_schema_metadata({"huggingface": json.dumps(declared)})
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(data, target)
    return target


def moods(**more: Any) -> dict[str, Any]:
    return {"hub": "set", "split": "validation", "names": {"label": MOODS}, **more}


def rows(folder: Path | None = None, **source: Any) -> list[tuple[str, str, str]]:
    declared = Source.model_validate(json.loads(json.dumps(source)))
    result = stimuli.records(declared, base=Path.cwd(), folder=folder)
    return [(row.id, row.fields["text"], row.fields["label"]) for row in result]


def error_of(folder: Path | None = None, **source: Any) -> str:
    with pytest.raises(ContrastError) as caught:
        rows(folder, **source)
    reported = str(caught.value).replace(f"{Path.cwd()}/", "")
    assert "\n" not in reported
    return reported


# A local folder


@pytest.mark.parametrize("config", [None, "moods"])
@pytest.mark.parametrize("wanted", ["glad", 1, "1"])
def test_a_local_folder(config: str | None, wanted: str | int) -> None:
    """`datasets` reads the folder; labels are kept by name or number and leave as names."""
    table("set/moods/validation-00000-of-00001.parquet")
    table("set/moods/train-00000-of-00001.parquet", labels=[2] * 9)
    more = {"config": config} if config else {}
    place = f"set/{config}/validation" if config else "set/validation"

    assert rows(**moods(where={"label": wanted}, **more)) == [
        (f"{place}:1", "i feel 1", "glad"),
        (f"{place}:4", "i feel 4", "glad"),
        (f"{place}:7", "i feel 7", "glad"),
    ]


def test_a_folder_with_a_card() -> None:
    """Where a card declares configs, the config is one of them."""
    table("set/moods/validation-0.parquet")
    table("set/moods/train-0.parquet")
    Path("set/README.md").write_text(CARD)

    assert len(rows(**moods(config="moods"))) == 9
    assert error_of(**moods(config="mods")) == (
        "hub 'set' cannot be read: BuilderConfig 'mods' not found. Available: ['moods']"
    )


@pytest.mark.parametrize("wanted", ["cross", 2])
def test_labels_that_the_data_set_declares(wanted: str | int) -> None:
    """A ClassLabel column needs no `names`."""
    table("set/validation.parquet", own_names=True)

    result = rows(hub="set", split="validation", where={"label": wanted})

    assert [label for _, _, label in result] == ["cross"] * 3


def test_csv_of_a_local_folder() -> None:
    """Other formats that `datasets` knows are read as well, labels by name or number."""
    Path("set").mkdir()
    Path("set/validation.csv").write_text("text,label\na,calm\nb,1\nc,glad\n")

    assert rows(**moods(where={"label": "glad"})) == [
        ("set/validation:1", "b", "glad"),
        ("set/validation:2", "c", "glad"),
    ]


def test_streaming_takes_the_first_that_where_keeps() -> None:
    """No more is read than the limit asks for; the ids are those of the whole set."""
    table("set/validation.parquet", own_names=True)
    declared = {"hub": "set", "split": "validation", "streaming": True, "limit": 2}

    result = rows(**declared, where={"label": "glad"})

    assert [place for place, _, _ in result] == ["set/validation:1", "set/validation:4"]


def test_columns_of_bytes_are_left_out() -> None:
    """Images in a table are not text; the texts beside them can be read, streamed or not."""
    Path("set").mkdir()
    data = pa.table({"text": ["a", "b"], "label": [0, 1], "raw": [b"\xff", b"\xfe"]})
    parquet.write_table(data, "set/validation.parquet")

    for more in ({}, {"streaming": True, "limit": 9}):
        result = stimuli.records(Source.model_validate(moods(**more)), base=Path.cwd())
        assert [dict(row.fields) for row in result] == [
            {"text": "a", "label": "calm"},
            {"text": "b", "label": "glad"},
        ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"split": "test"},
            "hub 'set' cannot be read: Unknown split \"test\". Should be one of ['validation'].",
        ),
        (
            {"where": {"lable": "calm"}},
            "set/validation:0: no column 'lable'; did you mean 'label'? there are: text, label",
        ),
        (
            {"names": {"label": ["calm", "glad"]}},
            "set/validation:2: there is no label '2'; there are: calm, glad (or 0 to 1)",
        ),
        (
            {"hub": "sett/.."},
            "hub 'sett/..': there is no folder sett/.., and the hub has no such names",
        ),
    ],
)
def test_errors_of_a_local_folder(more: dict[str, Any], message: str) -> None:
    """Each is one line that names the data set, and the row if one is wrong."""
    table("set/validation.parquet")

    assert error_of(**{**moods(), **more}).startswith(message)


def test_a_damaged_file() -> None:
    """What the libraries raise for a broken file becomes one line, too."""
    Path("set").mkdir()
    Path("set/validation.parquet").write_bytes(b"PAR1 not really")

    assert error_of(**moods()).startswith("hub 'set' cannot be read: ")


def test_a_script_is_never_run() -> None:
    """A data set that is a program is refused."""
    Path("set").mkdir()
    Path("set/set.py").write_text("from pathlib import Path\nPath('hacked').touch()\n")

    assert error_of(**moods()).startswith("hub 'set' cannot be read: ")
    assert not Path("hacked").exists()


def test_libraries_are_left_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, not even a progress bar, and settings are restored."""
    import datasets

    table("set/validation.parquet")
    before = (datasets.are_progress_bars_disabled(), datasets.config.HF_HUB_OFFLINE)

    rows(**moods())

    assert (datasets.are_progress_bars_disabled(), datasets.config.HF_HUB_OFFLINE) == before
    assert capfd.readouterr() == ("", "")


# The user's copy, with --stimuli


COPIES = {
    "v.csv": "text,label\na,calm\nb,1\n",
    "v.tsv": "text\tlabel\na\t0\nb\tglad\n",
    "v.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": "glad"}\n',
    "v.txt": "a;calm\nb;glad\n",
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_in_every_format(name: str) -> None:
    """A table with the columns of the data set replaces it, with labels by name or number."""
    Path("own/deep").mkdir(parents=True)
    Path("own/deep", name).write_text(COPIES[name])
    first = 1 if name.endswith(("txt", "jsonl")) else 2

    assert rows(Path("own"), **moods(where={"label": ["calm", "glad"]})) == [
        (f"{name}:{first}", "a", "calm"),
        (f"{name}:{first + 1}", "b", "glad"),
    ]


def test_lines_are_divided_at_the_last_semicolon() -> None:
    """A text may hold semicolons; where no labels are asked for it is not divided at all."""
    Path("own").mkdir()
    Path("own/validation.txt").write_text("a; b;glad\nc;calm\n")
    plain = Source.model_validate({"hub": "set", "split": "validation"})

    assert rows(Path("own"), **moods())[0][1:] == ("a; b", "glad")
    whole = stimuli.records(plain, base=Path(), folder=Path("own"))
    assert [row.fields for row in whole] == [{"text": "a; b;glad"}, {"text": "c;calm"}]


def test_copies_of_the_split_come_first() -> None:
    """Files named like the split are read alone, in the folder of the config; else all are."""
    table("own/moods/validation-0.parquet")
    table("own/moods/train-0.parquet", labels=[2] * 9)
    table("own/other/validation-0.parquet", labels=[0] * 9)
    more = moods(config="moods")

    assert {place.split(":")[0] for place, _, _ in rows(Path("own"), **more)} == {
        "validation-0.parquet"
    }
    assert Counter(label for *_, label in rows(Path("own"), **more)) == dict.fromkeys(MOODS, 3)
    assert len(rows(Path("own"), **{**more, "split": "test"})) == 18


def test_no_row_counts_twice(caplog: pytest.LogCaptureFixture) -> None:
    """One format of several is read, which is reported; equal files count once."""
    table("own/a/validation.parquet")
    table("own/b/validation.parquet")
    Path("own/validation.txt").write_text("a;calm\n")

    assert len(rows(Path("own"), **moods())) == 9
    assert caplog.messages == [
        "validation.parquet is read; validation.txt in another format is assumed to be a duplicate "
        "and is not read"
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.csv", "text,label\na,happy\n", "v.csv:2: there is no label 'happy'; there are: calm"),
        ("v.txt", "a;calm\nb\n", "own/v.txt:2: no label; each line of a .txt file with labels is"),
        ("v.txt", "a;calm\nb;\n", "own/v.txt:2: no label; each line of a .txt file with labels is"),
        ("v.csv", "text\na\n", "v.csv:2: no column 'label'; there are: text"),
        ("v.md", "a", "no .parquet, .jsonl, .csv, .tsv, .txt file in own; put the files of set"),
    ],
)
def test_errors_of_copies(name: str, text: str, message: str) -> None:
    """Each names file and row."""
    Path("own").mkdir()
    Path("own", name).write_text(text)

    assert error_of(Path("own"), **moods()).startswith(message)


def test_local_is_still_possible() -> None:
    """`local` describes a folder of another layout; it keeps the names."""
    Path("own").mkdir()
    Path("own/x.csv").write_text("sentence,text,label\na,b,0\nc,d,1\n")
    local = {"file": "x.csv", "column": "sentence", "where": {"label": "glad"}}
    declared = {"name": "t", "title": "t", "modality": "text", "source": "t", "contrast": "a > b"}
    both = {"a": moods(local=local), "b": moods(local={"file": "x.csv"})}
    made = Contrast.from_json(json.loads(json.dumps({**declared, "conditions": both})), Path.cwd())

    with pytest.raises(ContrastError, match=r"condition 'a': only 1 stimulus"):
        stimuli.load(made, seed=0, folder=Path("own"))


# Keys


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"hub": "a/b"}, "hub needs the split that is read, e.g. `split: validation`"),
        (
            {"file": "a.csv", "split": "train"},
            "split belongs to hub; this source is file; leave it out",
        ),
        (
            {"texts": ["a", "b"], "names": {"label": ["x"]}},
            "names belongs to file or download or hub; this source is texts; leave it out",
        ),
        ({"hub": "a/b", "split": "x", "per": "file"}, "per belongs to file; this source is hub"),
        (moods(streaming=True), "streaming ends at a limit; add one, e.g. `limit: 500`"),
        (
            moods(where={"label": "calmm"}),
            "where.label: there is no label 'calmm'; did you mean 'calm'? there are: calm, glad, "
            "cross (or 0 to 2)",
        ),
        (moods(where={"label": 3}), "where.label: there is no label '3'; there are: calm, glad"),
        (moods(names={"label": ["a", "a"]}), "label 'a' appears twice"),
    ],
)
def test_keys_that_do_not_go_together(source: dict[str, Any], message: str) -> None:
    """Each is reported with the line of the contrast."""
    text = json.dumps({"a": source, "b": {"texts": ["x", "y"]}})
    Path("c.yaml").write_text(
        f"name: c\ntitle: c\nmodality: text\nsource: me\nconditions:\n  {text}\ncontrast: a > b\n"
    )

    with pytest.raises(ContrastError) as caught:
        contrast.load("c.yaml")
    assert str(caught.value).startswith("c.yaml:6: conditions.a")
    assert message in str(caught.value)


# By name, against a hub on this machine


ASK = """\
import json, os, sys
from pathlib import Path
from deeploc.errors import ContrastError
from deeploc.stimuli import Source, records
reported = []
for source in json.loads(sys.argv[1]):
    os.environ["DEEPLOC_OFFLINE"] = source.pop("offline", "0")
    try:
        rows = records(Source.model_validate(source), base=Path.cwd())
        reported.append([[row.id, row.fields["label"]] for row in rows])
    except ContrastError as error:
        reported.append(str(error))
print(json.dumps(reported))
"""


def ask(address: str, *sources: dict[str, Any]) -> list[Any]:
    """Read sources in a process of its own: the libraries look for the hub when imported."""
    theirs = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(Path("hf").absolute()),
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(sources)],
        env={**os.environ, **theirs},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_by_name_and_then_from_the_cache() -> None:
    """A data set is fetched once; without the hub the cached revision is used, and no other."""
    wanted = {"hub": NAME, "config": "moods", "split": "validation", "revision": SHA}
    wanted["where"] = {"label": "glad"}
    streamed = {**wanted, "streaming": True, "limit": 2}
    files = {"README.md": CARD.encode()}
    for split in ("train", "validation"):
        path = f"moods/{split}-00000-of-00001.parquet"
        files[path] = table(f"made/{path}", own_names=True).read_bytes()
    glad = [[f"{NAME}/moods/validation:{i}", "glad"] for i in (1, 4, 7)]

    with serving(files) as address:
        faulty = [{"hub": "owner/mods"}, {"revision": "v2"}, {"config": "mods"}, {"split": "test"}]
        online = ask(address, wanted, streamed, *({**wanted, **one} for one in faulty))
    faulty = [{"revision": "f" * 40}, {"hub": "owner/mods"}]
    no_net = [{}, *faulty, {"offline": "1"}, {"offline": "1", "config": "mods"}]
    away = ask(address, *({**wanted, **one} for one in no_net))

    assert online[:2] == [glad, glad[:2]]
    assert [reported.split(";")[0] for reported in online[2:]] == [
        "hub 'owner/mods': the hub has no public data set of that name",
        f"hub '{NAME}': the hub has no revision 'v2' of it",
        f"hub '{NAME}' cannot be read: BuilderConfig 'mods' not found. Available: ['moods']",
        f"hub '{NAME}' cannot be read: Unknown split \"test\". Should be one of ['train', "
        "'validation'].",
    ]
    remedy = "go online once, or name a folder that holds its files with --stimuli FOLDER"
    assert away == [
        glad,
        f"hub '{NAME}': revision {'f' * 40} is not in the cache, but {SHA}; {remedy}",
        "hub 'owner/mods': the hub is unreachable, and the cache of `datasets` has no split "
        f"'validation' of its config 'moods'; {remedy}",
        glad,
        f"hub '{NAME}': offline mode (DEEPLOC_OFFLINE or HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is "
        "set), and the cache of `datasets` has no split 'validation' of its config 'mods'; "
        f"{remedy}",
    ]


# The shipped contrasts


def test_the_six_emotion_contrasts_are_in_step() -> None:
    """They are one text, but for the emotion that is compared with the other five."""
    folder = Path(contrast.__file__).parents[1] / "contrasts" / "emotion"
    texts = {path.stem: path.read_text() for path in folder.glob("*.yaml")}
    patterns = set()
    for emotion, text in texts.items():
        others = ", ".join(each for each in EMOTIONS if each != emotion)
        for declared in (
            f"name: emotion-{emotion}\n",
            f"title: {emotion.capitalize()} > the other five emotions\n",
            f"contrast: {emotion} > {others}\n",
        ):
            assert text.count(declared) == 1
            text = text.replace(declared, "")
        patterns.add(text)

    assert set(texts) == set(EMOTIONS)
    assert len(patterns) == 1


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_emotion_contrasts_name_what_they_read(emotion: str) -> None:
    """Every condition is one label of the pinned revision; the sides are balanced."""
    shipped = contrast.load(f"emotion/{emotion}")

    assert shipped.name == f"emotion-{emotion}"
    assert contrast.load(f"emotion-{emotion}") == shipped
    for name, source in shipped.conditions.items():
        assert (source.hub, source.config, source.split) == (
            "dair-ai/emotion",
            "split",
            "validation",
        )
        assert source.revision == "cab853a1dbdf4c42c2b3ef2173804746df8825fe"
        assert source.names == {"label": EMOTIONS}
        assert source.where == {"label": (name,)}
    assert tuple(shipped.conditions) == EMOTIONS
    assert shipped.balance
    assert dict(shipped.tasks)["choice"] == {
        "prompt": "{text}\nThe feeling is",
        "options": {name: name for name in EMOTIONS},
    }


def lines_of(split: str) -> dict[str, list[str]]:
    """Return label -> texts, counted by hand from the lines `text;label`."""
    by_hand: dict[str, list[str]] = {name: [] for name in EMOTIONS}
    for line in (SHARED / f"{split}.txt").read_text().splitlines():
        text, _, label = line.rpartition(";")
        by_hand[label].append(text.strip())
    return by_hand


@needs_emotion
def test_every_copy_of_the_emotion_data_gives_the_same(tmp_path: Path) -> None:
    """Parquet, lines of text and `datasets` agree with a count by hand, text by text."""
    shipped = contrast.load("emotion/anger", ["balance=false"])
    local = shipped.with_changes([f"conditions.{name}.hub={SHARED / 'hub'}" for name in EMOTIONS])
    plain = tmp_path / "plain"
    plain.mkdir()
    for split in ("train", "validation"):
        (plain / f"{split}.txt").write_text((SHARED / f"{split}.txt").read_text())

    versions = [stimuli.load(shipped, seed=0, folder=f) for f in (SHARED / "hub", plain, SHARED)]
    versions.append(stimuli.load(local, seed=0))

    for loaded in versions:
        texts = {name: [s.content for s in group] for name, group in loaded.items()}
        assert texts == lines_of("validation")
    assert len(versions[0]["anger"]) == 275


@needs_emotion
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_emotion_sides_are_balanced(emotion: str) -> None:
    """All texts of the emotion, as many of the other five together, and these as even as fits."""
    loaded = stimuli.load(contrast.load(f"emotion/{emotion}"), seed=0, folder=SHARED / "hub")
    by_hand = {name: len(group) for name, group in lines_of("validation").items()}

    sizes = {name: len(group) for name, group in loaded.items()}
    n = sizes.pop(emotion)

    assert n == by_hand[emotion] == sum(sizes.values())
    full = [size for name, size in sizes.items() if size < by_hand[name]]
    assert max(full) - min(full) <= 1
    assert all(size in (by_hand[name], *full) for name, size in sizes.items())
