"""Images as stimuli: found in one order everywhere, read or left out by name, nothing moved."""

import csv
import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deeploc import stimuli
from deeploc.cli import main
from deeploc.contrast import model as contrast
from deeploc.contrast.model import Contrast
from deeploc.errors import ContrastError
from deeploc.stimuli import Source, Stimulus, UnreadableImage, download, transfer
from deeploc.stimuli.stimulus import content_hash

ROOT = Path(__file__).parents[1]
FLOC = ROOT.parent / "shared" / "assets" / "floc224"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_image(path: str | Path, colour: tuple[int, int, int] = (9, 9, 9)) -> Path:
    """Write an image of one colour."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path)
    return path


def break_off(path: Path) -> None:
    """Truncate a file in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def two(a: object, b: object = None, **more: object) -> Contrast:
    """Return the contrast a > b of two sources of images; by default b is a folder of its own."""
    if b is None:
        save_image("others/1.png")
        save_image("others/2.png", (1, 2, 3))
        b = {"images": "others"}
    stated = {
        "name": "t",
        "title": "t",
        "modality": "image",
        "source": "tests",
        "contrast": "a > b",
    }
    stated |= {"conditions": {"a": a, "b": b}} | more
    return Contrast.from_json(json.loads(json.dumps(stated)), Path.cwd())


def ids(group: Sequence[Any]) -> list[str]:
    return [each.id for each in group]


def rows(**source: object) -> list[stimuli.Record]:
    return stimuli.records(Source.model_validate(source), base=Path.cwd())


def error_of(source: object, **options: Any) -> str:
    """Return the error of a contrast with this source, without the name of the condition."""
    with pytest.raises(ContrastError) as caught:
        stimuli.load(two(source), seed=0, **options)
    reported = str(caught.value)
    assert reported.startswith("contrast 't': condition 'a': ")
    return reported.removeprefix("contrast 't': condition 'a': ").replace(str(Path.cwd()), "HERE")


# Which files


@pytest.fixture
def tree() -> None:
    """Make images in folders, and files that are none."""
    for name in ("b/2.png", "b/10.png", "b/1.JPG", "a/x.tiff", "a/deep/y.webp", "b-c/z.gif"):
        save_image(name)
    for name in ("b/._1.JPG", "b/Thumbs.db", "b/labels.csv", "b/.hidden.png"):
        Path(name).write_text("none")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("b", ["b/1.JPG", "b/10.png", "b/2.png"]),
        ("b/", ["b/1.JPG", "b/10.png", "b/2.png"]),
        ("a", ["a/x.tiff"]),
        ("b/*", ["b/1.JPG", "b/10.png", "b/2.png"]),
        ("b/*.png", ["b/10.png", "b/2.png"]),
        ("*/*.*", ["a/x.tiff", "b/1.JPG", "b/10.png", "b/2.png", "b-c/z.gif"]),
        ("a/**/*", ["a/deep/y.webp", "a/x.tiff"]),
        (["b/2.png", "b", "a/*"], ["b/2.png", "b/1.JPG", "b/10.png", "a/x.tiff"]),
        ("b/Thumbs.db", ["b/Thumbs.db"]),
        ("b/../a/x.tiff", ["b/../a/x.tiff"]),
    ],
)
def test_files_and_their_order(patterns: str | list[str], expected: list[str]) -> None:
    """Folders, globs and paths; sorted within each pattern by path, each file once."""
    assert ids(rows(images=patterns)) == expected


def test_records_of_images() -> None:
    """A record has the absolute path and the name of the folder, by which `where` can choose."""
    save_image("set/car/1.png")
    save_image("set/house/1.png")

    outcome = rows(images="set/*/*", where={"label": "house"})

    assert [dict(r.fields) for r in outcome] == [
        {"image": str(Path.cwd() / "set/house/1.png"), "label": "house"}
    ]


def test_a_folder_per_condition() -> None:
    """Stimuli are absolute paths, ids are relative to the contrast and look the same everywhere."""
    save_image("faces/one.png")
    save_image("faces/two.png", (1, 1, 1))

    loaded = stimuli.load(two({"images": "faces"}), seed=0)["a"]

    assert [(s.id, s.content) for s in loaded] == [
        ("faces/one.png", Path.cwd() / "faces/one.png"),
        ("faces/two.png", Path.cwd() / "faces/two.png"),
    ]
    assert [s.sha256 for s in loaded] == [
        hashlib.sha256(Path(s.content).read_bytes()).hexdigest() for s in loaded
    ]


def test_files_elsewhere_keep_their_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An absolute path is read unchanged."""
    elsewhere = save_image(tmp_path_factory.mktemp("elsewhere") / "1.png").parent

    assert ids(rows(images=str(elsewhere))) == [f"{elsewhere}/1.png"]
    assert ids(rows(images=f"{elsewhere}/*.png")) == [f"{elsewhere}/1.png"]


ENDINGS = ".jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, .tiff, .ppm, .pgm, .pbm"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "nowhere/*.jpg",
            "no file or folder matches 'nowhere/*.jpg' in HERE; relative paths start at the "
            "folder of the contrast file, or at the one that --stimuli DIR names",
        ),
        (
            "texts",
            f"folder HERE/texts: no image among 1 files (0 folders); names must end in {ENDINGS}; "
            "for images in the folders, write e.g. '**/*.jpg'",
        ),
        (
            "*",
            f"matches of '*' in HERE: no image among 0 files (2 folders); names must end in "
            f"{ENDINGS}; for images in the folders, write e.g. '**/*.jpg'",
        ),
        (
            "a**b",
            "'a**b' is not a glob: invalid pattern: '**' can only be an entire path component",
        ),
        ("", None),
    ],
)
def test_patterns_that_name_no_image(pattern: str, message: str | None) -> None:
    """What was looked for and where, and how patterns are written."""
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a")
    if message is None:
        with pytest.raises(ContrastError, match="images"):
            two({"images": pattern})
    else:
        assert error_of({"images": pattern}) == message


# Tables of images


TABLES: Mapping[str, str] = {
    "t.csv": "image,kind\npix/1.png,S\npix/2.png,N\npix/1.png,S\n",
    "t.tsv": "image\tkind\npix/1.png\tS\npix/2.png\tN\npix/1.png\tS\n",
    "t.jsonl": '{"image": "pix/1.png", "kind": "S"}\n{"image": "pix/2.png", "kind": "N"}\n'
    '{"image": "pix/1.png", "kind": "S"}\n',
    "t.txt": "pix/1.png\npix/2.png\npix/1.png\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_images(name: str) -> None:
    """Paths start at the folder of the table; ids lead to the row and name the file."""
    save_image("set/pix/1.png")
    save_image("set/pix/2.png", (4, 5, 6))
    Path("set", name).write_text(TABLES[name])
    first = 2 if name.endswith("sv") else 1

    loaded = stimuli.load(two({"file": f"set/{name}"}), seed=0)["a"]

    assert ids(loaded) == [
        f"{name}:{first} (pix/1.png)",
        f"{name}:{first + 1} (pix/2.png)",
        f"{name}:{first + 2} (pix/1.png)",
    ]
    assert {s.content for s in loaded} == {Path.cwd() / "set/pix" / f"{i}.png" for i in (1, 2)}


def test_column_and_where_of_a_table_of_images() -> None:
    """`column` names the path, `where` keeps rows by any other column."""
    save_image("1.png")
    save_image("2.png")
    save_image("3.png")
    Path("t.csv").write_text("photo,kind\n1.png,S\n2.png,N\n 3.png ,S\n")
    source = {"file": "t.csv", "column": "photo", "where": {"kind": "S"}}

    assert ids(stimuli.load(two(source), seed=0)["a"]) == ["t.csv:2 (1.png)", "t.csv:4 (3.png)"]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (
            "photo,kind\n1.png,S\n2.png,S\n",
            {},
            "t.csv:2: which column is the image? there are photo, kind; name it with `column:`",
        ),
        (
            "photo,kind\n1.png,S\n2.png,S\n",
            {"column": ["photo", "kind"]},
            "column names photo, kind; an image is named in one column",
        ),
        (
            "image,kind\n1.png,S\n ,S\n",
            {},
            "t.csv:3: no image in image; fill the row, or leave it out",
        ),
        (
            "image,kind\n1.png,S\n2.png,S\n",
            {"column": "imgae"},
            "t.csv:2: no column 'imgae'; did you mean 'image'? there are: image, kind",
        ),
    ],
)
def test_faulty_tables(text: str, more: dict[str, object], message: str) -> None:
    """The error names the row."""
    save_image("1.png")
    save_image("2.png")
    Path("t.csv").write_text(text)

    assert error_of({"file": "t.csv"} | more) == message


def test_records_of_a_table_have_absolute_paths() -> None:
    """Tasks get the row's own fields, and the absolute path of an image; texts stay unchanged."""
    Path("set").mkdir()
    Path("set/t.csv").write_text("image,label,text\npix/1.png,car,a cat\n,car,b\n")
    stated = {"name": "t", "title": "t", "modality": "text", "source": "s", "contrast": "a > b"}
    source = {"file": "set/t.csv", "column": "label"}
    texts = Contrast.from_json(stated | {"conditions": {"a": source, "b": source}}, Path.cwd())

    outcome = rows(file="set/t.csv")

    assert dict(outcome[0].fields) == {
        "image": str(Path.cwd() / "set/pix/1.png"),
        "label": "car",
        "text": "a cat",
    }
    assert outcome[1].fields["image"] == ""
    assert [s.content for s in stimuli.load(texts, seed=0)["a"]] == ["car", "car"]


# What does not go together


MINE = """\
name: mine
title: t
modality: {modality}
source: me
conditions:
  a:
    {source}
  b: {{texts: [x, y]}}
contrast: a > b
"""


@pytest.mark.parametrize(
    ("modality", "source", "message"),
    [
        (
            "text",
            "images: faces",
            "mine.yaml:7: conditions.a.images: there are images in a contrast of modality 'text'; "
            "write `modality: image`, or name another source",
        ),
        (
            "text",
            "builtin: sentences\n    local: {images: faces}",
            "mine.yaml:8: conditions.a.local.images: there are images in a contrast of modality "
            "'text'; write `modality: image`, or name another source",
        ),
        (
            "image",
            "texts: [a, b]",
            "mine.yaml:7: conditions.a.texts: there are texts in a contrast of modality 'image'; "
            "write `modality: text`, or name another source",
        ),
        (
            "image",
            "builtin: sentences",
            "mine.yaml:8: conditions.b.texts: there are texts",
        ),
        (
            "image",
            "images: faces\n    column: image",
            "mine.yaml:6: conditions.a: column names a part of a table; image files have none; "
            "leave it out",
        ),
        (
            "image",
            "images: faces\n    local: {images: b}",
            "mine.yaml:6: conditions.a: local replaces sources without files where --stimuli is "
            "given; a 'images' source is read from that folder anyway; leave local out",
        ),
        (
            "image",
            "builtin: sentences\n    local: {limit: 3}",
            "mine.yaml:8: unknown key 'limit' in conditions.a.local; allowed: file, images, "
            "per, column, names, where, builtin",
        ),
        (
            "image",
            "builtin: sentences\n    local: {builtin: sentence}",
            "mine.yaml:8: conditions.a.local.builtin: no builtin generator is called 'sentence'",
        ),
        (
            "image",
            "builtin: sentences\n    local: {builtin: sentences, where: {a: b}}",
            "mine.yaml:8: conditions.a.local: where belongs to files; a generator has none",
        ),
        (
            "image",
            "builtin: sentences\n    local: {images: a, file: b.csv}",
            "mine.yaml:8: conditions.a.local: exactly one of file, images, builtin; this has file "
            "and images",
        ),
        (
            "image",
            "builtin: sentences\n    local: {where: {a: b}}",
            "mine.yaml:8: conditions.a.local: exactly one of file, images, builtin; this has none",
        ),
    ],
)
def test_errors_of_the_contrast(modality: str, source: str, message: str) -> None:
    """Texts and images are not mixed silently; each mistake is reported with file and line."""
    Path("mine.yaml").write_text(MINE.format(modality=modality, source=source))

    with pytest.raises(ContrastError) as caught:
        contrast.load("mine.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("lowercase: true", "images have no letters or tokens; leave it out"),
        ("max_tokens: 3", "images have no letters or tokens; leave it out"),
        ("tokens: all", "images have no letters or tokens; leave it out"),
        ("pool: last", "images have no last position; write mean, max, cls or none"),
    ],
)
def test_images_have_no_letters(option: str, message: str) -> None:
    """A read-out of texts is refused when the file is loaded, not ignored."""
    key = option.split(":")[0]
    text = MINE.format(modality="image", source="images: x").replace(
        "{texts: [x, y]}", "{images: x}"
    )
    Path("mine.yaml").write_text(f"{text}read: {{{option}}}\n")

    with pytest.raises(ContrastError) as caught:
        contrast.load("mine.yaml")
    assert str(caught.value) == f"mine.yaml:10: read.{key}: {message}"


def test_generated_texts_are_no_images() -> None:
    """A generator of texts in a contrast of images is refused."""
    assert (
        error_of({"builtin": "sentences", "limit": 2})
        == "sentences:0: no column 'image'; there are: text"
    )


# Read from the user's folder instead


def test_images_move_to_the_folder() -> None:
    """With --stimuli, patterns start there; `local` replaces what is not a file."""
    for name in (
        "here/a/1.png",
        "there/a/2.png",
        "there/a/3.png",
        "there/c/4.png",
        "there/c/5.png",
    ):
        save_image(name)
    local = {"images": "c"}
    mine = two({"images": "a"}, {"builtin": "sentences", "local": local, "limit": 9})

    loaded = stimuli.load(mine, seed=0, folder=Path("there"))

    assert {name: ids(group) for name, group in loaded.items()} == {
        "a": ["a/2.png", "a/3.png"],
        "b": ["c/4.png", "c/5.png"],
    }
    assert all(Path(s.content).is_absolute() for group in loaded.values() for s in group)


def test_absolute_images_do_not_move() -> None:
    """The folder is never ignored in silence."""
    assert error_of({"images": "/x/*.jpg"}, folder=Path()) == (
        "'/x/*.jpg' is an absolute path, which --stimuli cannot move; make it relative"
    )


# Unreadable images


@pytest.fixture
def damaged() -> Contrast:
    """Make ten images of which numbers 3 and 7 break off and 5 is empty."""
    for i in range(10):
        save_image(f"set/{i}.jpg", (20 * i, 9, 9))
    break_off(Path("set/3.jpg"))
    break_off(Path("set/7.jpg"))
    Path("set/5.jpg").write_bytes(b"")
    return two({"images": "set"})


TRUNCATED = "is truncated or damaged: "


def test_unreadable_images_are_left_out_by_name(damaged: Contrast) -> None:
    """The others keep their order; each one left out is reported, in order, with its reason."""
    reported: list[UnreadableImage] = []

    loaded = stimuli.load(damaged, seed=0, unreadable=reported.append)

    assert ids(loaded["a"]) == [f"set/{i}.jpg" for i in (0, 1, 2, 4, 6, 8, 9)]
    assert [(image.condition, image.stimulus) for image in reported] == [
        ("a", "set/3.jpg"),
        ("a", "set/5.jpg"),
        ("a", "set/7.jpg"),
    ]
    assert [image.reason.startswith(TRUNCATED) for image in reported] == [True, False, True]
    assert str(reported[1]) == "a: set/5.jpg is empty (0 bytes)"


def test_unreadable_images_are_warned_of(
    damaged: Contrast, caplog: pytest.LogCaptureFixture
) -> None:
    """Who passes no function hears of them all the same."""
    stimuli.load(damaged, seed=0)

    assert len(caplog.messages) == 3
    assert caplog.messages[1] == "left out: a: set/5.jpg is empty (0 bytes)"


def test_strict_stops_at_the_first(damaged: Contrast) -> None:
    """The first in order, whichever thread finishes first."""
    for _ in range(5):
        with pytest.raises(ContrastError) as caught:
            stimuli.load(damaged, seed=0, strict=True)
        reported = str(caught.value)
        assert reported.startswith(
            f"contrast 't': condition 'a': {Path.cwd()}/set/3.jpg {TRUNCATED}"
        )
        assert reported.endswith("; repair or remove it, or leave --strict out")


def test_too_few_are_left() -> None:
    """One image that can be read is too few; the first error is named."""
    for i in range(3):
        save_image(f"set/{i}.png")
    Path("set/1.png").write_bytes(b"")
    Path("set/0.png").write_text("none")

    assert error_of({"images": "set"}) == (
        "only 1 stimulus (2 could not be read, the first: set/0.png is not a JPEG, PNG, WebP, BMP, "
        "GIF, TIFF or PPM image); a variance needs at least two; add some, or raise its limit"
    )


def test_broken_links_and_missing_files_are_reported() -> None:
    """What a pattern or a table names and nobody can open is left out by name, not passed over."""
    for i in range(3):
        save_image(f"set/{i}.png")
    Path("set/link.png").symlink_to("annexed")
    Path("t.txt").write_text("set/0.png\nset/1.png\nset/9.png\n")
    reported: list[UnreadableImage] = []

    stimuli.load(two({"images": "set"}, {"file": "t.txt"}), seed=0, unreadable=reported.append)

    assert [str(image) for image in reported] == [
        "a: set/link.png no such file",
        "b: t.txt:3 (set/9.png) no such file",
    ]


# Halves


def test_equal_files_land_in_the_same_half() -> None:
    """The same bytes under two names are not localized with and evaluated on."""
    for i in range(12):
        save_image(f"set/{i}.png", (i // 2, 0, 0))
    for seed in range(10):
        loaded = stimuli.load(two({"images": "set"}), seed=seed)
        halves = stimuli.split_half(loaded, seed)
        colours = [{Path(s.content).read_bytes() for s in half["a"]} for half in halves]

        assert [len(c) for c in colours] == [3, 3]
        assert not colours[0] & colours[1]


def test_content_hash_is_of_the_bytes() -> None:
    """Equal bytes hash equally wherever they lie; the files are not read again for it."""
    for folder in ("one", "two"):
        save_image(f"{folder}/1.png", (1, 1, 1))
        save_image(f"{folder}/2.png", (2, 2, 2))
    loaded = stimuli.load(two({"images": "one"}, {"images": "two"}), seed=0)
    by_hand = [Stimulus("x", s.content) for s in loaded["a"]]

    assert content_hash(loaded["a"]) == content_hash(loaded["b"]) == content_hash(by_hand)
    assert content_hash(loaded["a"][::-1]) != content_hash(loaded["a"])
    for s in loaded["a"]:
        Path(s.content).unlink()
    assert content_hash(loaded["a"]) == content_hash(loaded["b"])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 24 images, of which some pairs have equal bytes, and a broken twin of each."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(24):
        save_image(folder / "whole" / f"{i}.png", (i - i % 3, 1, 1))
        break_off(save_image(folder / "broken" / f"{i}.png", (i, 1, 1)))
    return folder


@given(
    broken=st.sets(st.integers(0, 23), max_size=21),
    seed=st.integers(0, 2**32),
    limit=st.none() | st.integers(2, 30),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_lost_doubled_or_moved(
    many: Path, broken: set[int], seed: int, limit: int | None
) -> None:
    """Readable + unreadable = sampled; the halves divide the readable ones, in the given order.

    The sample does not depend on which files are damaged.
    """
    files = [f"{'broken' if i in broken else 'whole'}/{i}.png" for i in range(24)]
    stated = {
        "name": "t",
        "title": "t",
        "modality": "image",
        "source": "tests",
        "contrast": "a > b",
    }
    stated |= {"conditions": {"a": {"images": files}, "b": {"images": "whole"}}}
    mine = Contrast.from_json(stated, many)
    expected = stimuli.sample(files, limit, seed, "a")
    if sum(name.startswith("whole") for name in expected) < 2:
        with pytest.raises(ContrastError, match="a variance needs at least two"):
            stimuli.load(mine, seed=seed, limit=limit, unreadable=print)
        return
    reported: list[UnreadableImage] = []
    loaded = stimuli.load(mine, seed=seed, limit=limit, unreadable=reported.append)
    first, second = stimuli.split_half(loaded, seed)

    assert ids(loaded["a"]) == [name for name in expected if name.startswith("whole")]
    assert [image.stimulus for image in reported] == [n for n in expected if n.startswith("broken")]
    assert Counter(first["a"] + second["a"]) == Counter(loaded["a"])
    for half in (first["a"], second["a"]):
        assert list(half) == [s for s in loaded["a"] if s in half]
    assert not {s.sha256 for s in first["a"]} & {s.sha256 for s in second["a"]}


# Downloads


class Handler(BaseHTTPRequestHandler):
    """Serves the files of a folder; counts what is asked for."""

    folder: Path
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.folder / self.path.lstrip("/")
        body = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    """Publish 12 + 12 images with a manifest, and serve them."""
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    names = [f"stimuli/{kind}/{kind}-{i}.jpg" for kind in ("adult", "car") for i in range(12)]
    for i, name in enumerate(names):
        save_image(Path("published", name), (10 * i, 0, 0))
    with Path("manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "sha256"])
        for name in names:
            published = Path("published", name).read_bytes()
            table.writerow([name, hashlib.sha256(published).hexdigest()])
    handler = type("H", (Handler,), {"requests": [], "folder": tmp_path / "published"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        handler.url = f"http://127.0.0.1:{served.server_address[1]}/"
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield handler
        served.shutdown()
        thread.join()


def declared(server: type[Handler], local: bool = False) -> Contrast:
    """Return the contrast adult > car of the published images."""

    def source(kind: str) -> dict[str, object]:
        fetched = {"url": server.url, "manifest": "manifest.csv", "files": f"stimuli/{kind}/*"}
        return {"download": fetched} | ({"local": {"images": f"**/{kind}/*.jpg"}} if local else {})

    return two(source("adult"), source("car"))


def test_downloaded_images(server: type[Handler]) -> None:
    """Fetched once, in the order of the manifest, and checked by hash each time."""
    first = stimuli.load(declared(server), seed=0)
    again = stimuli.load(declared(server), seed=0)

    assert ids(first["a"]) == [f"stimuli/adult/adult-{i}.jpg" for i in range(12)]
    assert [s.content_key for s in first["a"]] == [
        hashlib.sha256(Path("published", s.id).read_bytes()).hexdigest() for s in first["a"]
    ]
    assert again == first
    assert len(server.requests) == len(set(server.requests)) == 24


def test_download_goes_on_where_it_was(
    server: type[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with the wrong bytes stops it and is not kept; the others are, and are kept."""
    monkeypatch.setattr(transfer, "RETRIES", 0)
    wrong = Path("published/stimuli/adult/adult-5.jpg")
    right = wrong.read_bytes()
    wrong.write_bytes(b"something else")

    reported = load_error(declared(server))
    cached = sorted(p.name for p in Path("cache").rglob("*") if p.is_file())
    wrong.write_bytes(right)
    stimuli.load(declared(server), seed=0)

    assert (
        f"cannot download {server.url}stimuli/adult/adult-5.jpg: SHA256 hash of downloaded file "
        "(adult-5.jpg) does not match the known hash: expected"
    ) in reported
    assert "adult-5.jpg" not in cached
    assert {f"adult-{i}.jpg" for i in range(5)} <= set(cached)
    assert not [name for name in cached if not name.startswith("adult-")]
    for path in {f"/stimuli/adult/adult-{i}.jpg" for i in range(5)}:
        assert server.requests.count(path) == 1


def load_error(mine: Contrast, **options: Any) -> str:
    with pytest.raises(ContrastError) as caught:
        stimuli.load(mine, seed=0, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_offline_says_where_the_files_go(
    server: type[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: what is missing, the folder for it, and the other way; nothing is asked for."""
    monkeypatch.setenv("DEEPLOC_OFFLINE", "1")
    cache = download.cache_folder(server.url)

    assert load_error(declared(server)) == (
        f"contrast 't': condition 'a': cannot download {server.url}stimuli/adult/adult-0.jpg: "
        "offline mode (DEEPLOC_OFFLINE or HF_HUB_OFFLINE is set) and it and 11 more are not "
        f"cached; put the files into {cache} by hand (below the same paths), or name a folder "
        "that holds them with --stimuli DIR"
    )
    cache.parent.mkdir(parents=True)
    Path("published").rename(cache)
    assert len(stimuli.load(declared(server), seed=0)["a"]) == 12
    assert server.requests == []


class Counting:
    """A watch that adds up the steps of each label."""

    def __init__(self) -> None:
        self.steps: dict[str, list[int]] = {}

    def note(self, text: str) -> None:
        """Hear nothing."""

    def progress(self, label: str, total: int) -> Any:
        from contextlib import nullcontext

        self.steps[label] = [total, 0]

        def tick(n: int) -> None:
            self.steps[label][1] += n

        return nullcontext(tick)


def test_progress_is_reported(server: type[Handler]) -> None:
    """Downloading and checking tick once for each file."""
    reporter_ = Counting()

    stimuli.load(declared(server), seed=0, reporter=reporter_)

    assert reporter_.steps == {
        "downloading": [12, 12],
        "checking a": [12, 12],
        "checking b": [12, 12],
    }


def test_own_copies_of_a_download(server: type[Handler], caplog: pytest.LogCaptureFixture) -> None:
    """All files must exist, in either layout; those that differ are reported in one warning."""
    Path("published/stimuli").rename("own")
    for name in ("own/adult/adult-3.jpg", "own/adult/adult-7.jpg"):
        save_image(name, (255, 255, 255))
    with pytest.raises(ContrastError, match=r"adult-0\.jpg is not in own; it must lie there"):
        stimuli.load(declared(server), seed=0, folder=Path("own"))

    Path("own").rename("stimuli")
    loaded = stimuli.load(declared(server), seed=0, folder=Path())

    assert ids(loaded["a"]) == [f"stimuli/adult/adult-{i}.jpg" for i in range(12)]
    assert caplog.messages == [
        "stimuli/adult/adult-3.jpg differs from the published stimuli/adult/adult-3.jpg "
        "(and 1 more); it is used as it is"
    ]
    assert server.requests == []


def test_local_reads_part_of_a_download(server: type[Handler]) -> None:
    """With `local`, a folder that holds some of the files, in other bytes, will do."""
    for i in range(3):
        save_image(f"part/adult/adult-{i}.jpg", (i, i, i))
        save_image(f"part/deep/car/car-{i}.jpg", (i, i, 0))

    loaded = stimuli.load(declared(server, local=True), seed=0, folder=Path("part"))

    assert ids(loaded["a"]) == [f"adult/adult-{i}.jpg" for i in range(3)]
    assert ids(loaded["b"]) == [f"deep/car/car-{i}.jpg" for i in range(3)]


# The shipped contrast


CATEGORIES = ["adult", "body", "car", "child", "corridor", "house", "instrument", "limb", "number"]
CATEGORIES += ["scrambled", "word"]
HOLDS = {
    "faces": {"adult", "child"},
    "bodies": {"body", "limb"},
    "characters": {"number", "word"},
    "places": {"corridor", "house"},
    "objects": {"car", "instrument"},
    "scrambled": {"scrambled"},
}


@pytest.mark.parametrize("name", ["faces", "faces-pooled"])
def test_faces_declares_all_published_files(name: str) -> None:
    """Every condition has the 144 images of each of its categories; none is in two conditions."""
    shipped = contrast.load(name)
    files = {
        condition: list(download.declared(source.download, shipped.base))
        for condition, source in shipped.conditions.items()
    }

    for condition, paths in files.items():
        counts = Counter(Path(path).parent.name for path in paths)
        assert counts == dict.fromkeys(HOLDS[condition], 144)
    assert len({path for paths in files.values() for path in paths}) == 11 * 144
    assert shipped.comparison.positive == ("faces",)
    assert shipped.comparison.negative == ("bodies", "characters", "places", "objects")


def test_faces_and_faces_pooled_differ_in_the_comparison_only() -> None:
    """A conjunction over the other categories, or all of them together."""
    each, pooled = (contrast.load(name).to_json() for name in ("faces", "faces-pooled"))
    differ = {key for key in each if each[key] != pooled[key]}

    assert differ == {"name", "title", "notes", "against"}
    assert (each["against"], pooled["against"]) == ("each", "pooled")


@pytest.mark.parametrize("layout", ["stimuli/{0}/{0}-{1}.jpg", "{0}/{0}-{1}.jpg"])
def test_faces_reads_a_copy(layout: str) -> None:
    """A clone of the repository, its folder of stimuli, or a part of either."""
    for number, category in enumerate(CATEGORIES):
        for i in range(1, 4):
            save_image(Path("copy", layout.format(category, i)), (number, i, 0))

    loaded = stimuli.load(contrast.load("faces"), seed=0, folder=Path("copy"))

    assert {
        name: Counter(Path(s.content).parent.name for s in group) for name, group in loaded.items()
    } == {name: dict.fromkeys(categories, 3) for name, categories in HOLDS.items()}


@pytest.mark.skipif(not FLOC.is_dir(), reason="the fLoc images are not here")
def test_faces_reads_the_real_images() -> None:
    """72 of the published images per category, at another size."""
    loaded = stimuli.load(contrast.load("faces"), seed=0, folder=FLOC, strict=True)

    assert {name: len(group) for name, group in loaded.items()} == {
        name: 72 * len(categories) for name, categories in HOLDS.items()
    }


# A whole run


SEES = """
import numpy as np
from contextlib import contextmanager
from deeploc.core.adapter import Batch
from deeploc.stimuli.image_decode import decode
from deeploc.core.units import Layout, Site


class Colours:
    identity = {"adapter": "colours", "model": "colours", "weights": "none"}
    sites = Layout((Site("retina", "block", 12),))

    def activations(self, stimuli, layout, readout):
        for i, s in enumerate(stimuli):
            mean = np.asarray(decode(s.content)).mean((0, 1))
            yield Batch(np.array([i]), np.outer(np.arange(1.0, 5), mean).reshape(1, 12))

    @contextmanager
    def ablated(self, ablation):
        yield
"""


@pytest.fixture
def reds(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make 11 red images, the sixth of them truncated, 9 green ones, and a model that sees them."""
    monkeypatch.delitem(sys.modules, "deeploc_test_sees", raising=False)
    monkeypatch.setattr(sys, "argv", ["deeploc"])
    Path("deeploc_test_sees.py").write_text(SEES)
    for i in range(11):
        save_image(f"red/{i:02}.jpg", (200 + 5 * i, 4 * i, 9))
    for i in range(9):
        save_image(f"green/{i:02}.png", (5 * i, 250 - i, 7))
    break_off(Path("red/05.jpg"))
    Path("reds.yaml").write_text(
        "name: reds\ntitle: Red > green\nmodality: image\nsource: made up\n"
        "conditions:\n  red: {images: red}\n  green: {images: 'green/*.png'}\n"
        "contrast: red > green\nread: {pool: mean}\nselect: {k: 2}\n"
    )
    return Path("reds.yaml")


def deeploc(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_truncated_file_in_the_middle_of_a_condition(reds: Path) -> None:
    """The run ends, the file is named at its end, and every count is right."""
    result = deeploc("localize", reds, "-m", "torch:deeploc_test_sees:Colours", "-o", "run")
    manifest = json.loads(Path("run/manifest.json").read_text())
    reported = manifest["unreadable"]

    assert result.exit_code == 0, result.output
    assert [(each["condition"], each["stimulus"]) for each in reported] == [("red", "red/05.jpg")]
    assert reported[0]["reason"].startswith(TRUNCATED)
    assert result.stderr.splitlines()[-2:] == [
        "left out because they cannot be read: 1",
        f"  red: red/05.jpg {reported[0]['reason']}",
    ]
    counts = {
        name: (c["n"], c["localize"], c["evaluate"]) for name, c in manifest["stimuli"].items()
    }
    assert counts == {"red": (10, 5, 5), "green": (9, 5, 4)}
    assert all(s.startswith("red/") for s in manifest["stimuli"]["red"]["samples"])


def test_a_run_with_unreadable_files_is_resumed(reds: Path) -> None:
    """What was left out is left out again; repairing the file is a change of the stimuli."""
    command = ("localize", reds, "-m", "torch:deeploc_test_sees:Colours", "-o", "run")
    deeploc(*command)
    again = deeploc(*command)
    save_image("red/05.jpg", (220, 9, 9))
    refused = deeploc(*command)
    repaired = deeploc(*command, "--overwrite")

    assert "up to date, reused: audit, localize" in again.stderr
    assert "left out because they cannot be read: 1" in again.stderr
    assert refused.exit_code == 1
    assert "stimuli" in refused.stderr
    assert repaired.exit_code == 0
    assert "left out" not in repaired.stderr
    assert json.loads(Path("run/manifest.json").read_text())["unreadable"] == []


def test_strict_runs_stop_before_the_model_loads(reds: Path) -> None:
    """One line that names the file, exit code 1, no folder."""
    result = deeploc("run", reds, "-m", "torch:nothing:there", "-o", "run", "--strict")

    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: reds.yaml:6: condition 'red': {Path.cwd()}/red/05.jpg {TRUNCATED}"
    )
    assert len(result.stderr.splitlines()) == 1
    assert not Path("run").exists()


def test_strict_is_restored(reds: Path) -> None:
    """A run that was strict is strict when it is opened again."""
    from deeploc.experiment import open_run

    Path("red/05.jpg").unlink()
    command = ("localize", reds, "-m", "torch:deeploc_test_sees:Colours", "-o", "run")
    restored = []
    for strict in ([], ["--strict"]):
        assert deeploc(*command, *strict, "--overwrite").exit_code == 0
        restored.append(open_run(Path("run")).setup.strict)

    assert restored == [False, True]


def test_check_shows_images_by_name(reds: Path) -> None:
    """Counts and an example of each condition, without the folders of this machine."""
    result = deeploc("check", reds)
    strict = deeploc("check", reds, "--strict")

    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1][:3] == ["red", "5", "5"]
    assert lines[1][3].startswith("red/")
    assert lines[2][:3] == ["green", "5", "4"]
    assert "red: red/05.jpg is truncated" in result.stderr
    assert strict.exit_code == 1


def test_many_unreadable_files_are_counted_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty are reported one by one, the others by number."""
    from deeploc.cli._progress import Console

    unreadable = [UnreadableImage("a", f"{i}.jpg", "is empty (0 bytes)") for i in range(1030)]
    stimuli.StimulusSets({}, {}, unreadable).report_unreadable(Console())

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "left out because they cannot be read: 1,030"
    assert lines[1] == "  a: 0.jpg is empty (0 bytes)"
    assert len(lines) == 22
    assert lines[-1] == "  and 1,010 more: the manifest of a run lists them all"
