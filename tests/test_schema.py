"""The JSON Schema accepts and refuses the same contrasts as the loader."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from deeploc.contrast.model import Contrast, available
from deeploc.contrast.schema import contrast_schema
from deeploc.errors import ContrastError

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").rglob("*.yaml"))
TEMPLATES = sorted(Path(str(files("deeploc.contrast") / "templates")).glob("*.yaml"))

VALID: Mapping[str, Any] = {
    "name": "mine",
    "title": "a > b",
    "modality": "text",
    "source": "me",
    "conditions": {"a": {"texts": ["x", "y"]}, "b": {"builtin": "sentences", "limit": 4}},
    "contrast": "a > b",
}


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    made = contrast_schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def loads(declared: Mapping[str, Any]) -> bool:
    """Return whether deeploc itself accepts a contrast."""
    try:
        Contrast.from_json(declared, Path.cwd())
    except ContrastError:
        return False
    return True


@pytest.mark.parametrize("name", available())
def test_every_shipped_contrast_is_valid(schema: Draft202012Validator, name: str) -> None:
    """The schema accepts every shipped file."""
    text = (files("deeploc.contrasts") / f"{name}.yaml").read_text(encoding="utf-8")

    assert [error.message for error in schema.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize("path", [*EXAMPLES, *TEMPLATES], ids=lambda path: path.stem)
def test_every_example_is_valid(schema: Draft202012Validator, path: Path) -> None:
    """It accepts every example, and what `deeploc new` writes."""
    declared = yaml.safe_load(path.read_text(encoding="utf-8").replace("@NAME@", "mine"))

    assert [error.message for error in schema.iter_errors(declared)] == []


WRONG: Mapping[str, Mapping[str, Any]] = {
    "unknown key": {"titel": "x"},
    "no title": {"title": None},
    "empty title": {"title": ""},
    "unknown modality": {"modality": "sound"},
    "name with a space": {"name": "my contrast"},
    "condition with a space": {"conditions": {"a b": {"texts": ["x", "w"]}}},
    "no conditions": {"conditions": {}},
    "two sources": {
        "conditions": {"a": {"texts": ["x", "w"], "file": "y.csv"}, "b": {"texts": ["z", "y"]}}
    },
    "no source": {"conditions": {"a": {"limit": 3}, "b": {"texts": ["z", "y"]}}},
    "masks that are no number": {"ablate": {"controls": {"magnitude-matched": "some"}}},
    "fewer than no masks": {"ablate": {"controls": {"magnitude-matched": -1}}},
    "a number of one mask": {"ablate": {"controls": {"opposite": 2}}},
    "unknown generator": {"conditions": {"a": {"builtin": "poems"}, "b": {"texts": ["z", "y"]}}},
    "unknown option of a generator": {
        "conditions": {
            "a": {"builtin": {"generator": "sentences", "tense": "past"}},
            "b": {"texts": ["z", "y"]},
        }
    },
    "unknown choice of a generator": {
        "conditions": {
            "a": {"builtin": {"generator": "rendered", "category": "boats"}},
            "b": {"texts": ["z", "y"]},
        }
    },
    "hub without a split": {"conditions": {"a": {"hub": "x/y"}, "b": {"texts": ["z", "y"]}}},
    "streaming without a limit": {
        "conditions": {
            "a": {"hub": "x/y", "split": "train", "streaming": True},
            "b": {"texts": ["z", "y"]},
        }
    },
    "split of a file": {
        "conditions": {"a": {"file": "x.csv", "split": "train"}, "b": {"texts": ["z", "y"]}}
    },
    "download without a hash": {
        "conditions": {
            "a": {"download": {"url": "https://x.org/y.zip"}},
            "b": {"texts": ["z", "y"]},
        }
    },
    "limit 0": {"conditions": {"a": {"texts": ["x", "w"], "limit": 0}, "b": {"texts": ["z", "y"]}}},
    "one-sided contrast": {"contrast": "a"},
    "weights as text": {"contrast": {"a": "1", "b": -1}},
    "unknown pool": {"read": {"pool": "median"}},
    "unknown key of read": {"read": {"site": "block"}},
    "two rules": {"select": {"k": 3, "fdr": 0.05}},
    "percent above 100": {"select": {"percent": 140}},
    "text for a number": {"select": {"percent": "1"}},
    "empty percentile": {"select": {"percentile": [10]}},
    "unknown mode": {"ablate": {"mode": "remove"}},
    "scale without number": {"ablate": {"mode": "scale:"}},
    "no dose": {"ablate": {"percent": []}},
    "a dose twice": {"ablate": {"percent": [1, 1]}},
    "a site twice": {"read": {"sites": ["block", "block"]}},
    "a million controls": {"ablate": {"controls": {"random": 1_000_000}}},
    "seed that NumPy refuses": {"select": {"percentile": [1, 2], "percent": 1, "seed": 2**32}},
    "sentences of 40 words": {
        "conditions": {
            "a": {"builtin": {"generator": "sentences", "words": 40}},
            "b": {"texts": ["z", "y"]},
        }
    },
    "negative controls": {"ablate": {"controls": {"random": -1}}},
    "two tasks in one entry": {"evaluate": [{"perplexity": None, "choice": None}]},
    "options that are a list": {"evaluate": [{"perplexity": ["x"]}]},
    "empty entry of evaluate": {"evaluate": [""]},
    "entry of evaluate without a task": {"evaluate": [{}]},
    "name and its options on one level": {"evaluate": [{"choice": None, "options": {}}]},
    "unknown side": {"against": "all"},
    "three percentiles": {"select": {"percentile": [1, 2, 3]}},
    "fdr of 1": {"select": {"fdr": 1}},
    "half a unit": {"select": {"k": 0.5}},
    "yes for true": {"read": {"lowercase": "yes"}},
    "no text at all": {"conditions": {"a": {"texts": []}, "b": {"texts": ["z", "y"]}}},
    "column without a name": {
        "conditions": {"a": {"file": "x.csv", "column": ""}, "b": {"texts": ["z", "y"]}}
    },
    "split in three": {"split": "third"},
    "no stimulus to evaluate": {"evaluate_limit": 0},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=list(WRONG))
def test_what_the_loader_refuses_the_schema_refuses(
    schema: Draft202012Validator, change: Mapping[str, Any]
) -> None:
    """An editor underlines errors of form."""
    declared = {key: value for key, value in {**VALID, **change}.items() if value is not None}

    assert not loads(declared)
    assert not schema.is_valid(declared)


RIGHT: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "weights": {"contrast": {"a": 1, "b": -1.0}},
    "lists of one are values": {
        "read": {"sites": "block"},
        "ablate": {"mode": "zero", "percent": 5},
        "evaluate": "perplexity",
    },
    "lists": {
        "read": {"sites": ["block", "mlp-neurons"]},
        "ablate": {"mode": ["zero", "mean", "scale:-0.5"], "percent": [1, 2.5]},
        "evaluate": ["perplexity", {"choice": {"options": {"a": "x", "b": "y"}}}, {"mine": None}],
    },
    "null is the default": {
        "select": {"k": 3, "percent": None},
        "ablate": {"percent": None},
        "evaluate_limit": None,
    },
    "where": {
        "conditions": {
            "a": {"file": "x.csv", "where": {"label": ["a", 3, True], "n": 1}, "column": "text"},
            "b": {"file": ["x.csv", "y.tsv"], "where": {"label": "b"}, "column": ["t1", "t2"]},
        }
    },
    "hub": {
        "conditions": {
            "a": {"hub": "x/y", "split": "train", "config": "c", "where": {"label": "joy"}},
            "b": {
                "hub": "x/y",
                "split": "train",
                "streaming": True,
                "limit": 5,
                "names": {"label": ["joy", "love"]},
            },
        },
        "balance": True,
    },
    "files and archives": {
        "conditions": {
            "a": {"file": "*_story.txt", "per": "file"},
            "b": {"download": {"url": "https://x.org/y.zip", "sha256": "0" * 64, "files": "*.csv"}},
        }
    },
    "range": {"select": {"percentile": [80, 90], "percent": 2, "seed": 7}},
    "controls": {"ablate": {"controls": {"random-global": 3, "bottom": True, "range": [0, 50]}}},
    "matched controls": {"ablate": {"controls": {"magnitude-matched": 3, "opposite": True}}},
    "local": {
        "conditions": {
            "a": {"builtin": {"generator": "sentences", "words": 8, "seed": 3}},
            "b": {"builtin": "nonword-lists", "local": {"file": "*.csv", "column": "t"}},
        }
    },
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=list(RIGHT))
def test_what_the_loader_takes_the_schema_takes(
    schema: Draft202012Validator, change: Mapping[str, Any]
) -> None:
    """No form that deeploc accepts is underlined."""
    declared = {**VALID, **change}

    assert loads(declared)
    assert [error.message for error in schema.iter_errors(declared)] == []


_LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 120), st.sampled_from(["zero", "block", "none", ""])
)


@given(
    key=st.sampled_from(["percent", "k", "fdr", "tail"]),
    other=st.sampled_from(["percent", "k", "fdr"]),
    values=st.tuples(_LEAF, _LEAF),
)
def test_selections_are_judged_alike(
    schema: Draft202012Validator, key: str, other: str, values: tuple[Any, Any]
) -> None:
    """The schema accepts every selection that the loader accepts."""
    declared = {**VALID, "select": {key: values[0], other: values[1]}}

    if loads(declared):
        assert schema.is_valid(declared)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("größe", True),
        ("日本", True),
        ("a_b-1", True),
        ("-a", False),
        ("a/b", False),
        ("a b", False),
    ],
)
def test_names_are_judged_alike_in_an_editor(name: str, right: bool) -> None:
    """JavaScript knows no letter beyond ASCII in \\w, as Python with re.ASCII."""
    pattern = contrast_schema()["properties"]["name"]["pattern"]

    assert (
        (re.search(pattern, name, re.ASCII) is not None) == right == loads({**VALID, "name": name})
    )


def test_every_key_is_explained() -> None:
    """Each key of a contrast, of its sources and of its parts has a description."""
    made = contrast_schema()
    parts = [made, *(made["$defs"][name] for name in ("Source", "Read", "Select", "Ablate"))]
    unexplained = [
        key
        for part in parts
        for key, declared in part["properties"].items()
        if not declared.get("description")
    ]

    assert unexplained == []


def test_installed_tasks_are_offered() -> None:
    """Names of tasks are suggestions: a plugin of another machine is accepted."""
    (offered,) = contrast_schema()["properties"]["evaluate"]["examples"]

    assert {"perplexity", "choice", "label-stability"} <= set(offered)
