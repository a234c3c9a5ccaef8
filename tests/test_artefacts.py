import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from deeploc.atomic import write, write_parts
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.runs import files as artefacts

from .conftest import stat_map_of


def full_map(layout: Layout) -> StatMap:
    means = {"sentences": np.ones(20), "nonwords": np.zeros(20)}
    return replace(stat_map_of(np.arange(20.0), layout), means=means, sds=means)


def test_statmap_file_is_what_the_design_says(tmp_path, layout: Layout) -> None:
    """Flat float64 vectors by their documented names, and the site table in the metadata."""
    write_parts(tmp_path / "statmap.safetensors", artefacts.statmap_parts(full_map(layout)))
    with safe_open(tmp_path / "statmap.safetensors", framework="numpy") as file:
        names = set(file.keys())
        table = json.loads(file.metadata()["sites"])
        t = file.get_tensor("t")

    assert names >= {"t", "df", "p", "q", "d", "mean.sentences", "sd.nonwords"}
    assert (t.dtype, t.shape) == (np.float64, (20,))
    assert table[1] == {
        "name": "h.1.mlp.down:input",
        "kind": "mlp-neurons",
        "n_units": 4,
        "offset": 4,
    }


def test_files_are_what_the_library_would_write(tmp_path, layout: Layout) -> None:
    """Our writer makes no copy; the library reads the same tensors, aligned to eight bytes."""
    stat_map = full_map(layout)
    write_parts(tmp_path / "statmap.safetensors", artefacts.statmap_parts(stat_map))
    raw = (tmp_path / "statmap.safetensors").read_bytes()
    tensors = safetensors.numpy.load(raw)
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    theirs = json.loads(safetensors.numpy.save(tensors, {"sites": "x"})[8:].split(b"}}")[0] + b"}}")

    assert length % 8 == 0
    assert len(raw) == 8 + length + sum(tensor.nbytes for tensor in tensors.values())
    assert header["t"].keys() == theirs["t"].keys()
    assert header["t"]["dtype"] == theirs["t"]["dtype"]
    np.testing.assert_array_equal(tensors["sd.nonwords"], stat_map.sds["nonwords"])


def test_units_table_names_site_and_index(layout: Layout) -> None:
    """Units by falling t; the index counts within the site."""
    mask = UnitMask(layout, np.isin(np.arange(20), [3, 4, 19]))
    rows = [line.split(",") for line in artefacts.units_csv(mask, full_map(layout)).splitlines()]

    names = [site.name for site in layout.sites]
    assert [row[:2] for row in rows[1:]] == [
        [names[-1], str(layout.sites[-1].n_units - 1)],
        [names[1], "0"],
        [names[0], "3"],
    ]


def test_statmap_and_mask_read_back(tmp_path, layout: Layout) -> None:
    """What is saved is what is loaded, layout included."""
    stat_map = full_map(layout)
    mask = UnitMask(layout, stat_map.t > 15)
    write_parts(tmp_path / "s", artefacts.statmap_parts(stat_map))
    write_parts(tmp_path / "m", artefacts.mask_parts(mask))
    again = artefacts.load_statmap(tmp_path / "s")

    assert again.layout == layout
    np.testing.assert_array_equal(again.means["sentences"], stat_map.means["sentences"])
    np.testing.assert_array_equal(artefacts.load_mask(tmp_path / "m").selected, mask.selected)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x00" * 64])
def test_broken_files_are_one_line(tmp_path, content: bytes) -> None:
    """The message names the file and the remedy."""
    (tmp_path / "statmap.safetensors").write_bytes(content)

    with pytest.raises(RunError, match=r"statmap.safetensors is broken .*; localize again"):
        artefacts.load_statmap(tmp_path / "statmap.safetensors")


def test_failed_write_leaves_the_old_file(tmp_path) -> None:
    """A write that cannot finish neither harms what was there nor leaves parts behind."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "folder", b"x")

    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_units_csv_lists_by_falling_t(layout: Layout) -> None:
    """Index is the place within the site, not the global one."""
    stat_map = full_map(layout)
    selected = np.zeros(20, dtype=bool)
    selected[[5, 14]] = True
    lines = artefacts.units_csv(UnitMask(layout, selected), stat_map).splitlines()

    assert lines[0] == "site,index,t,d,q,mean.sentences,mean.nonwords"
    assert lines[1].startswith("h.1,0,14.0,")
    assert lines[2].startswith("h.1.mlp.down:input,1,5.0,")
