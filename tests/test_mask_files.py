"""Masks as files for other tools, and files of other tools as masks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from deeploc.atomic import write_parts
from deeploc.cli import main
from deeploc.cli.export import _FILES
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import MaskError
from deeploc.runs.files import mask_parts
from deeploc.runs.mask_files import FORMATS, described, export_mask, read_mask

FACTS = {"model": "hf:gpt2", "contrast": "language", "weights": "xxh3:00"}
HEADS = Layout((Site("h.0.attn", "head", 4, "input", width=3), Site("h.0", "block", 6)))


def test_llm_localization_format_round_trip(tmp_path: Path, layout: Layout) -> None:
    """Exported is a (layers, hidden) 0/1 matrix; imported is the same mask over blocks."""
    mask = UnitMask(layout, np.arange(20) % 3 == 0)
    export_mask(mask, tmp_path / "m.npy", "llm-localization", {})
    matrix = np.load(tmp_path / "m.npy")
    back = read_mask(tmp_path / "m.npy", layout)

    assert matrix.shape == (2, 6)
    np.testing.assert_array_equal(matrix.reshape(-1), mask.selected[8:])
    np.testing.assert_array_equal(back.selected, mask.selected[8:])


def test_mask_for_another_model_is_refused(tmp_path: Path, layout: Layout) -> None:
    """The message gives both shapes."""
    np.save(tmp_path / "m.npy", np.zeros((3, 6)))

    with pytest.raises(MaskError, match=r"shape \(3, 6\); this model's blocks need .* \(2, 6\)"):
        read_mask(tmp_path / "m.npy", layout)


def test_export_needs_blocks(tmp_path: Path) -> None:
    """A mask over neurons has no (layers x hidden) form."""
    neurons = Layout((Site("h.0.mlp", "mlp-neurons", 4, "input"),))
    mask = UnitMask(neurons, np.ones(4, dtype=bool))

    with pytest.raises(MaskError, match="--sites block"):
        export_mask(mask, tmp_path / "m.npy", "llm-localization", {})


def mask_over(layout: Layout) -> UnitMask:
    return UnitMask(layout, np.arange(layout.n_units) % 3 == 0)


@pytest.mark.parametrize(("kind", "suffix"), [("safetensors", ".safetensors"), ("numpy", ".npz")])
def test_a_file_by_site_is_read_by_anyone(tmp_path: Path, kind: str, suffix: str) -> None:
    """The libraries' own readers find an array for each site, a head as all of its scalars, and
    what the mask is about; deeploc reads the same units."""
    mask, path = mask_over(HEADS), tmp_path / f"m{suffix}"
    export_mask(mask, path, kind, FACTS)
    if kind == "safetensors":
        arrays = load_file(path)
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["deeploc"])
    else:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "__metadata__"}
            facts = json.loads(str(file["__metadata__"]))["deeploc"]
    heads = [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]

    assert facts == FACTS
    assert arrays["h.0.attn:input"].tolist() == heads
    assert arrays["h.0"].tolist() == [0, 0, 1, 0, 0, 1]
    np.testing.assert_array_equal(read_mask(path, HEADS).selected, mask.selected)
    assert described(path) == (("head", "block"), FACTS)


def test_a_table_has_a_row_for_every_unit(tmp_path: Path) -> None:
    """With the parts of the site's name; a table of another tool needs site and index only."""
    mask = mask_over(HEADS)
    export_mask(mask, tmp_path / "m.csv", "csv", FACTS)
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    (tmp_path / "own.csv").write_text("index,site\n1,h.0\n5,h.0\n1,h.0\n")

    assert rows[0] == {
        "site": "h.0.attn:input", "kind": "head", "module": "h.0.attn", "call": "0",
        "tap": "input", "index": "0",
    }  # fmt: skip
    assert [row["index"] for row in rows] == ["0", "3", "2", "5"]
    np.testing.assert_array_equal(read_mask(tmp_path / "m.csv", HEADS).selected, mask.selected)
    assert described(tmp_path / "m.csv") == (("head", "block"), {})
    own = read_mask(tmp_path / "own.csv", HEADS)
    assert np.flatnonzero(own.selected).tolist() == [5, 9]
    assert described(tmp_path / "own.csv") == (("h.0",), {})


def test_the_mask_of_a_run_is_read_too(tmp_path: Path) -> None:
    """mask.safetensors is one vector over all sites."""
    mask = mask_over(HEADS)
    write_parts(tmp_path / "mask.safetensors", mask_parts(mask))

    np.testing.assert_array_equal(
        read_mask(tmp_path / "mask.safetensors", HEADS).selected, mask.selected
    )
    assert described(tmp_path / "mask.safetensors") == (("head", "block"), {})


def test_every_format_has_a_file_of_its_own_name() -> None:
    """The command, which imports nothing heavy, knows the formats that are written."""
    assert list(_FILES) == list(FORMATS)
    assert len(set(_FILES.values())) == len(FORMATS)


def test_brain_score_reads_the_matrix(tmp_path: Path, layout: Layout) -> None:
    """`np.load` returns what its localizer returns: 0 and 1, (layers, hidden)."""
    export_mask(mask_over(layout), tmp_path / "gpt2_language_mask.npy", "brainscore", FACTS)
    matrix = np.load(tmp_path / "gpt2_language_mask.npy")

    assert matrix.shape == (2, 6)
    assert set(np.unique(matrix)) == {0, 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"h.9": [0, 1]}, "is about 'h.9', and this model has no such site"),
        ({"h.0": [0, 1]}, r"shape \(2,\) for h.0; this model needs 6 numbers"),
        ({"h.0": [0, 1, 2, 0, 0, 0]}, "needs 6 numbers, each 0 or 1"),
        ({"h.0.attn:input": [1, 1, 0] + [0] * 9}, "a part of a head is selected"),
        ("site,index\nh.0,6\n", "line 2: index '6' is no unit of h.0, which has 6, from 0 on"),
        ("site,index\nh.0,-1\n", "line 2: index '-1' is no unit"),
        ("site,index\nh.0\n", "line 2: index '' is no unit"),
        ("site,index\n", "lists no units"),
        ("place,number\nh.0,1\n", "it needs the columns site and index"),
        (b"\x00\xff", "is not a readable table"),
        (None, "is no mask that deeploc reads"),
    ],
)
def test_a_wrong_file_is_one_line(
    tmp_path: Path, content: dict[str, list[float]] | str | bytes | None, message: str
) -> None:
    """What is wrong, where, and what would be right."""
    path = tmp_path / ("m.safetensors" if content is None or isinstance(content, dict) else "m.csv")
    if isinstance(content, dict):
        save_file({name: np.array(values) for name, values in content.items()}, path)
    elif isinstance(content, str):
        path.write_text(content)
    else:
        path.write_bytes(content or b"no tensors")

    with pytest.raises(MaskError, match=message) as caught:
        read_mask(path, HEADS)
    assert "\n" not in str(caught.value)


def test_keys_of_other_tools_are_passed_over(tmp_path: Path) -> None:
    """torch writes ``format: pt``, which is no JSON and says nothing of the units."""
    path = tmp_path / "m.safetensors"
    save_file({"h.0": np.array([0, 1, 0, 0, 0, 0])}, path, {"format": "pt"})

    assert described(path) == (("h.0",), {})
    assert np.flatnonzero(read_mask(path, HEADS).selected).tolist() == [5]


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"sites": [1]}, "sites.0"),
        ({"sites": 5}, "sites"),
        ({"deeploc": {"model": 3}}, "deeploc.model"),
        ({"deeploc": {"read": "last"}}, "deeploc.read"),
        ("text", "the whole"),
    ],
)
def test_metadata_of_another_form_is_one_line(tmp_path: Path, said: object, place: str) -> None:
    """A file of somebody else may say anything of itself; the message names the place."""
    path = tmp_path / "m.npz"
    np.savez(path, __metadata__=np.array(json.dumps(said)), **{"h.0": np.zeros(6)})

    with pytest.raises(MaskError, match=f"its metadata, {place}:") as caught:
        described(path)
    assert "\n" not in str(caught.value)


def test_a_file_alone_names_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask of somebody else may name a function as its model; nothing of it is imported."""
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    facts = {**FACTS, "model": "torch:evil:make"}
    export_mask(mask_over(HEADS), tmp_path / "m.safetensors", "safetensors", facts)
    result = CliRunner().invoke(main, ["import", "m.safetensors"])

    assert result.exit_code == 2
    assert "if you trust it, name it: -m torch:evil:make" in result.output
    assert not (tmp_path / "ran").exists()


def test_a_type_that_numpy_lacks_is_one_line(tmp_path: Path) -> None:
    """Masks are small numbers; a file of weights in bfloat16 is none."""
    path = tmp_path / "m.safetensors"
    header = b'{"h.0":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")

    with pytest.raises(MaskError, match="is no mask that deeploc reads"):
        described(path)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".safetensors", ".txt"])
def test_a_missing_or_foreign_file_is_one_line(tmp_path: Path, suffix: str) -> None:
    """Of every kind; an archive of something else too."""
    missing, foreign = tmp_path / f"none{suffix}", tmp_path / f"foreign{suffix}"
    foreign.write_bytes(b"PK\x03\x04 something else \xff")

    for path in (missing, foreign):
        with pytest.raises(MaskError):
            read_mask(path, HEADS)
