"""The stimuli that drive the selected units most and least: their order, files and page."""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeploc.analysis.driving import driving_stimuli, shown_stimuli, with_maps
from deeploc.atomic import write_json
from deeploc.contrast.model import load
from deeploc.core.adapter import Batch, ModelOptions, Tokenization
from deeploc.core.driving import N_SHOWN, DrivingStimulus, ends_of, from_csv, to_csv
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import RunError
from deeploc.experiment import STAGES, localize_run, open_run
from deeploc.report.heat_map import outline, place_of_largest, upper_half
from deeploc.report.html import render
from deeploc.runs.driving import DrivingStage
from deeploc.runs.files import hash_of
from deeploc.runs.localizing import LocalizeStage, ProfileStage, SelectStage
from deeploc.runs.lock import locked
from deeploc.runs.run import Run
from deeploc.runs.saved_run import load_run
from deeploc.runs.setup import Setup
from deeploc.runs.stages import bring_up_to_date
from deeploc.stimuli import Stimulus
from deeploc.stimuli.thumbnail import THUMBNAIL_SIDE
from deeploc.testing import ToyAdapter

from .test_stages import OTHERS, WORDS, Inputs, contrast_of

SHIPPED = Path(__file__).parents[1] / "contrasts"
TABLE = "driving-stimuli.csv"


class Reader(ToyAdapter):
    """Counts how often texts are read, and tells which word of a text is read: its last."""

    n_read = 0

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        self.n_read += len(stimuli)
        return super().activations(stimuli, layout, readout)

    def tokenization(self, stimuli: Sequence[Stimulus], _: Readout) -> Tokenization:
        texts = [str(stimulus.content) for stimulus in stimuli]
        counts = np.array([len(text) for text in texts])
        read = [(text.rfind(" ") + 1, len(text)) for text in texts]
        nothing = np.zeros(len(texts), dtype=bool)
        return Tokenization(counts, counts, None, nothing, read=read)


@dataclass
class WithDriving(Inputs):
    """The stages up to the order of stimuli, of a contrast that holds nothing out."""

    adapter: ToyAdapter | None = None

    def run(self, folder: Path) -> Run:
        run = super().run(folder)
        adapter = self.adapter or run.adapter
        adapter.identity = self.identity  # type: ignore[misc]
        return replace(run, adapter=adapter)

    def stages(self) -> list[Any]:
        finding = [LocalizeStage(), SelectStage(), ProfileStage()]
        return [*finding, DrivingStage()]


def seal(folder: Path) -> None:
    """Record the files of the stage as they are now."""
    manifest = load_run(folder).manifest
    record = manifest["driving"]
    record["files"] = {name: hash_of(folder / name) for name in record["files"]}
    write_json(folder / "manifest.json", manifest)


def z_by_hand(run: Run, kind: str) -> dict[str, float]:
    """Return the mean z of the selected units by plain NumPy, text by text."""

    def read(texts: Sequence[str]) -> np.ndarray:
        stimuli = [Stimulus(text, text) for text in texts]
        readout = Readout.of(run.contrast.read)
        return np.concatenate(
            [b.values for b in run.adapter.activations(stimuli, run.layout, readout)]
        )

    localizing = read([*WORDS, *OTHERS])
    chosen = run.mask.of_kind(kind).selected & (localizing.std(axis=0) > 0)
    z = (localizing - localizing.mean(axis=0)) / np.where(chosen, localizing.std(0, ddof=1), 1)
    return dict(zip([*WORDS, *OTHERS], z[:, chosen].mean(axis=1).tolist(), strict=True))


def test_the_order_is_that_of_z_by_hand(tmp_path: Path) -> None:
    """Of twelve texts six are at either end, with the z of brute force, the outermost first."""
    inputs = WithDriving()
    inputs.make(tmp_path)
    driving = load_run(tmp_path).driving
    assert driving is not None

    assert [kind.sites for kind in driving.kinds] == ["mlp-neurons", "block"]
    for kind in driving.kinds:
        expected = z_by_hand(inputs.run(tmp_path), kind.sites)
        rows = driving.of(kind.sites)
        assert kind.n_stimuli == 12
        assert {row.text: row.z for row in rows} == pytest.approx(expected)
        assert [(row.end, row.rank) for row in rows] == [
            *(("most", rank) for rank in range(1, 7)),
            *(("least", rank) for rank in range(12, 6, -1)),
        ]
        z = [row.z for row in sorted(rows, key=lambda row: row.rank)]
        assert z == sorted(z, reverse=True)


def test_ends_are_a_stable_sort() -> None:
    """Ties keep the order of the stimuli, at both ends; what is not finite has no place."""
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 7, 15, 16, 40):
        z = rng.integers(0, 4, n).astype(float)
        z[rng.random(n) < 0.2] = np.nan
        order = sorted((i for i in range(n) if z[i] == z[i]), key=lambda i: (-z[i], i))
        ends = {end: chosen.tolist() for end, chosen in ends_of(z).items()}

        assert len(ends["least"]) == min(N_SHOWN, len(order) // 2)
        assert len(ends["most"]) == min(N_SHOWN, (len(order) + 1) // 2)
        assert ends["most"] == order[: len(ends["most"])]
        assert ends["least"] == order[::-1][: len(ends["least"])]


def test_the_table_reads_back_unchanged() -> None:
    """Whatever a text holds; a table of another form is refused."""
    texts = ['a, "b"\nc', "\r\n", "", "ü <b>&amp;", "'"]
    rows = [
        DrivingStimulus("block", "least", n, "x,y", f"s:{n}", 0.1 * n, 0, n, text)
        for n, text in enumerate(texts)
    ]
    rows.append(DrivingStimulus("block", "most", 1, "c", "d.png", -1e-9))

    assert from_csv(to_csv(rows)) == rows
    with pytest.raises(ValueError, match="columns"):
        from_csv("sites,end\nblock,most\n")
    with pytest.raises(ValueError, match="has not 9 fields"):
        from_csv(to_csv(rows).rstrip("\n").rpartition(",")[0])
    with pytest.raises(ValueError, match="none of most, least"):
        from_csv(to_csv(rows[-1:]).replace("most", "top"))


def test_no_text_is_read_again_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    """The order costs no forward pass; where it is lost, it is made again byte for byte."""
    adapters = [Reader(), Reader()]
    inputs = WithDriving(adapter=adapters[0])
    inputs.make(tmp_path / "with")
    alone = WithDriving(adapter=adapters[1])
    run = alone.run(tmp_path / "without")
    with locked(run.folder.path, create=True):
        bring_up_to_date(run, alone.stages()[:-1], STAGES)
    before = (tmp_path / "with" / TABLE).read_bytes()
    manifest = load_run(tmp_path / "with").manifest
    (tmp_path / "with" / TABLE).unlink()

    assert adapters[0].n_read == adapters[1].n_read
    assert inputs.make(tmp_path / "with") == ["localize", "select", "profile"]
    assert (tmp_path / "with" / TABLE).read_bytes() == before
    assert load_run(tmp_path / "with").manifest == manifest


HOSTILE = "<script>alert(1)</script> & " + 40 * "abba \" ' " + "cab<b>"


def report_of(folder: Path, adapter: ToyAdapter, pool: str) -> str:
    contrast = contrast_of(read={"sites": ["block"], "pool": pool})
    texts = (*WORDS[:-1], HOSTILE)
    WithDriving(contrast, adapter=adapter, abc=texts, held_out=texts).make(folder)
    return render(folder)


def test_texts_are_escaped_cut_and_marked(tmp_path: Path) -> None:
    """The word that is read is marked as the adapter tells it; nothing of a text is markup."""
    page = report_of(tmp_path, Reader(), "last")

    assert "<mark>cab&lt;b&gt;</mark>" in page
    assert "<script>alert" not in page
    assert HOSTILE not in page
    cells = re.findall(r"<td>(.*?)</td>", page, flags=re.DOTALL)
    (cell,) = {cell for cell in cells if "cab&lt;b&gt;" in cell}
    assert cell.startswith("…")
    assert len(re.sub(r"&[^;]+;", "x", cell)) < 200
    assert f"<mark>{WORDS[0]}</mark>" in page


def test_line_ends_within_a_text_stay(tmp_path: Path) -> None:
    """A text with the line ends of Windows is read back as it was, with the place of its word."""
    texts = (*WORDS[:-1], "abba\r\ncab\rabba cab")
    contrast = contrast_of(read={"sites": ["block"]})
    WithDriving(contrast, adapter=Reader(), abc=texts, held_out=texts).make(tmp_path)
    driving = load_run(tmp_path).driving

    assert driving is not None
    (row,) = {row for row in driving.rows if "\r" in row.text}
    assert row.text == texts[-1]
    assert row.text[row.read_from : row.read_to] == "cab"


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_without_a_word_nothing_is_marked(tmp_path: Path, pool: str) -> None:
    """An adapter that does not tell, and a pool of all tokens."""
    page = report_of(tmp_path, ToyAdapter() if pool == "last" else Reader(), pool)

    assert "<mark>" not in page
    told = {"last": "does not tell at which word", "mean": "read at all tokens but special ones"}
    assert told[pool] in page


def test_a_place_that_is_not_in_the_text_is_one_line(tmp_path: Path) -> None:
    """A table that was changed by hand ends in an error that says so."""
    report_of(tmp_path, Reader(), "last")
    table = tmp_path / TABLE
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    columns = lines[1].rstrip("\n").split(",")
    columns[7] = "999"
    lines[1] = ",".join(columns) + "\n"
    table.write_text("".join(lines), encoding="utf-8")
    seal(tmp_path)

    with pytest.raises(RunError, match=r"388-999 of .* is read; localize again"):
        render(tmp_path)


@pytest.fixture(scope="module")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run on a few rendered images."""
    folder = tmp_path_factory.mktemp("images") / "run"
    contrast = load(SHIPPED / "faces-rendered.yaml", ["verdict.untrained=false"])
    localize_run(contrast, Setup("reference:cnn", ModelOptions(device="cpu"), limit=6), folder)
    return folder


def test_pictures_and_maps_of_a_run(image_run: Path) -> None:
    """Each row has a small JPEG and a map whose mean is its z."""
    driving = load_run(image_run).driving
    assert driving is not None

    assert {name for name, _ in driving.pictures} <= {row.condition for row in driving.rows}
    for row in driving.rows:
        image = Image.open(io.BytesIO(driving.pictures[row.condition, row.stimulus]))
        assert image.format == "JPEG"
        assert max(image.size) <= THUMBNAIL_SIDE
    for kind in driving.kinds:
        z = np.array([row.z for row in driving.of(kind.sites)])
        means = driving.maps[kind.sites].mean(axis=(1, 2))
        made = np.isfinite(means)
        assert made[:4].all()
        np.testing.assert_allclose(means[made], z[made], atol=1e-5)
        assert (kind.n_placed, kind.missing) == (kind.n_units, "")


def test_no_more_images_are_read_than_the_limit(
    image_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those at the upper end come first, kind by kind; the others have no map, and the page has
    their picture alone."""
    monkeypatch.setattr("deeploc.analysis.driving._ALWAYS", 3)
    run = open_run(image_run)
    driving = driving_stimuli(run.group_means, run.mask)
    stimuli = shown_stimuli(run.group_means, driving)
    seen: list[int] = []
    units = run.mask, run.group_means.unit_groups.scale
    mapped = with_maps(
        *(driving, stimuli, run.adapter, run.contrast, units),
        n_localizing=18,
        on_progress=seen.append,
    )

    assert sum(seen) == 3
    read = {
        (row.condition, row.stimulus)
        for kind, maps in mapped.maps.items()
        for row, values in zip(mapped.of(kind), maps, strict=True)
        if np.isfinite(values).all()
    }
    assert len(read) == 3
    firsts = {(row.condition, row.stimulus) for row in mapped.rows if row.rank == 1}
    assert firsts <= read


_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "transformers", "timm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from pathlib import Path
from deeploc.report.html import render
Path(sys.argv[2]).write_text(render(Path(sys.argv[1])), encoding="utf-8")
"""


def test_the_page_stands_alone(image_run: Path, tmp_path: Path) -> None:
    """A copy of the folder is rendered where no framework can be imported; every picture is in the
    page, with a text of its own for whoever does not see it."""
    copy = Path(shutil.copytree(image_run, tmp_path / "copy"))
    page = tmp_path / "page.html"
    subprocess.run([sys.executable, "-c", _WITHOUT, str(copy), str(page)], check=True)
    text = page.read_text(encoding="utf-8")
    images = re.findall(r"<img [^>]*>", text)
    driving = load_run(image_run).driving
    assert driving is not None

    n_maps = sum(np.isfinite(maps).all(axis=(1, 2)).sum() for maps in driving.maps.values())
    assert len(images) == len(driving.rows) + n_maps + len(driving.kinds)
    assert all('src="data:image/' in image for image in images)
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert text == render(image_run)
    assert len(text.encode()) < 3_000_000
    row = driving.rows[0]
    assert re.search(rf"{re.escape(row.stimulus)}, {row.condition}, z = [\d.]+; responds", text)


def test_damaged_pictures_are_one_line(image_run: Path, tmp_path: Path) -> None:
    """A file of other tensors is refused by name."""
    copy = Path(shutil.copytree(image_run, tmp_path / "copy"))
    shutil.copyfile(copy / "mask.safetensors", copy / "driving-stimuli.safetensors")
    seal(copy)

    with pytest.raises(RunError, match=r"holds no picture of .*; localize again"):
        render(copy)


def test_outline_and_place() -> None:
    """The upper half of the values above 0, its border and where it is, on maps made by hand."""
    z = np.array([[0.0, 1.0, 4.0], [0.0, 2.0, 3.0]])

    assert upper_half(z).tolist() == [[False, False, True], [False, True, True]]
    assert not upper_half(np.array([[-2.0, -1.0]])).any()
    segments = re.findall(r"M\d+ \d+[HV]\d+", outline(upper_half(z)))
    assert len(segments) == len(set(segments)) == 8  # the border of three places in an L
    assert outline(np.ones((1, 1), dtype=bool)).count("M") == 4
    assert place_of_largest(z) == "upper right"
    assert place_of_largest(np.eye(3)[[1, 0, 2]][:, [1, 0, 2]] * 0) == ""
    spot = np.zeros((9, 9))
    spot[4, 4] = 1
    assert place_of_largest(spot) == "centre"
    assert place_of_largest(np.roll(spot, 4, axis=0)) == "lower centre"
