"""Downloads: only what has the declared hash is kept, and every error has a remedy."""

import contextlib
import hashlib
import io
import re
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deeploc import stimuli
from deeploc.contrast.sources import Download
from deeploc.errors import ContrastError
from deeploc.stimuli import Source, archives, download, transfer

GOOD = b"text,kind\na b,S\nc d,N\n"
CORRUPT = b"text\nother\n"
SHA = hashlib.sha256(GOOD).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves one good file, a corrupt one, one that breaks off and one that is too large.

    What ``served`` holds is sent under its path; ``requests`` are the requested paths.
    For each number in ``breaks`` one transfer of ``flaky`` breaks off that many bytes before its
    end, or where the number is 0 brings other bytes.
    """

    requests: list[str]
    served: dict[str, bytes]
    breaks: list[int]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        kind = Path(self.path).stem
        if kind in ("absent", "busy"):
            self.send_error({"absent": 404, "busy": 503}[kind])
            return
        body = self.served.get(self.path, CORRUPT if kind == "corrupt" else GOOD)
        extra = {"broken": 10, "large": 10_000}.get(kind, 0)
        if kind == "flaky" and self.breaks:
            extra = self.breaks.pop()
            body = body if extra else CORRUPT
        self.send_response(200)
        if kind != "endless":
            self.send_header("Content-Length", str(len(body) + extra))
        self.end_headers()
        self.wfile.write(body * 100 if kind == "endless" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("H", (Handler,), {"requests": [], "served": {}, "breaks": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def declare(server: ThreadingHTTPServer, folder: Path, *paths: str, files: str = "*") -> Download:
    rows = "".join(f"{path},{SHA}\n" for path in paths)
    (folder / "manifest.csv").write_text(f"path,sha256\n{rows}")
    url = f"http://127.0.0.1:{server.server_address[1]}/base/"
    return Download(url=url, manifest="manifest.csv", files=(files,))


def cached_files(declared: Download) -> list[Path]:
    return [p for p in download.cache_folder(declared.url).rglob("*") if p.is_file()]


def error_of(declared: Download, folder: Path) -> str:
    with pytest.raises(ContrastError) as caught:
        download.fetch(declared, folder)
    assert cached_files(declared) == []
    return str(caught.value)


def remedy(declared: Download) -> str:
    return (
        f"; put the file into {download.cache_folder(declared.url)} by hand (below the same "
        "path), or name a folder that holds it with --stimuli DIR"
    )


def test_fetches_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A file is fetched, checked and kept; the second time nothing is asked of the net."""
    declared = declare(server, tmp_path, "data/good.csv", "data/a b.csv")

    first = download.fetch(declared, tmp_path)
    second = download.fetch(declared, tmp_path)

    assert [path.read_bytes() for path in first] == [GOOD, GOOD]
    assert first == second
    requests = server.RequestHandlerClass.requests  # in no order: several connections
    assert sorted(requests) == ["/base/data/a%20b.csv", "/base/data/good.csv"]


def test_only_chosen_files(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """`files` chooses among the paths of the manifest."""
    declared = declare(server, tmp_path, "data/good.csv", "data/absent.csv", files="*/good*")

    assert [path.name for path in download.fetch(declared, tmp_path)] == ["good.csv"]


def test_loaded_as_records(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A download is read like the files it brings."""
    source = Source(download=declare(server, tmp_path, "good.csv"), where={"kind": ("S",)})

    result = stimuli.records(source, base=tmp_path)

    assert [(record.id, record.fields["text"]) for record in result] == [("good.csv:2", "a b")]


def test_a_changed_cache_is_fetched_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Cached files are checked each time: a damaged one is not used."""
    declared = declare(server, tmp_path, "good.csv")
    (cached,) = download.fetch(declared, tmp_path)
    cached.write_bytes(b"damaged")

    assert download.fetch(declared, tmp_path)[0].read_bytes() == GOOD


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "HTTP 404 Not Found"),
        (
            "corrupt",
            "SHA256 hash of downloaded file (corrupt.csv) does not match the known hash: expected "
            f"{SHA} but got {hashlib.sha256(CORRUPT).hexdigest()}",
        ),
        ("broken", "IncompleteRead(22 bytes read, 10 more expected)"),
        ("large", "larger than 1,000 bytes"),
        ("endless", "larger than 1,000 bytes"),
        ("busy", "HTTP 503 Service Unavailable"),
    ],
)
def test_failures(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    reason: str,
) -> None:
    """Each failure names the address, the reason and the two remedies, and leaves no file."""
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    monkeypatch.setattr(transfer, "RETRIES", 0)
    declared = declare(server, tmp_path, f"data/{name}.csv")

    assert error_of(declared, tmp_path) == (
        f"cannot download {declared.url}data/{name}.csv: {reason}{remedy(declared)}"
    )


@pytest.mark.parametrize("extra", [7, 0])
def test_a_transfer_is_repeated(server: ThreadingHTTPServer, tmp_path: Path, extra: int) -> None:
    """A transfer that broke off, or brought other bytes, is repeated from its beginning."""
    handler = server.RequestHandlerClass
    handler.breaks.append(extra)
    declared = declare(server, tmp_path, "flaky.csv")

    assert download.fetch(declared, tmp_path)[0].read_bytes() == GOOD
    assert handler.requests == ["/base/flaky.csv"] * 2


@pytest.mark.parametrize("name", ["absent", "large", "endless"])
def test_what_will_not_change_is_asked_for_once(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A file that does not exist, or is too large, is not asked for again."""
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    declared = declare(server, tmp_path, f"{name}.csv")

    error_of(declared, tmp_path)

    assert server.RequestHandlerClass.requests == [f"/base/{name}.csv"]


def test_many_at_once(
    server: ThreadingHTTPServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Several files are downloaded at a time, each is reported, and pooch writes nothing."""
    steps: list[int] = []
    paths = [f"{folder}/{number}.csv" for folder in "ab" for number in range(20)]
    declared = declare(server, tmp_path, *paths)

    files = download.fetch(declared, tmp_path, Counting(steps))

    assert [path.read_bytes() for path in files] == [GOOD] * 40
    assert steps == [40] + [1] * 40
    assert capfd.readouterr() == ("", "")
    assert sorted(cached_files(declared)) == sorted(files)


class Counting:
    """A progress reporter that keeps the total and the steps."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def progress(
        self, label: str, total: int
    ) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        assert label == "downloading"
        self.steps.append(total)
        return contextlib.nullcontext(self.steps.append)


def test_other_files_are_kept(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """What was downloaded before another file failed is not downloaded again."""
    declared = declare(server, tmp_path, "good.csv", "absent.csv")

    with pytest.raises(ContrastError, match=r"absent\.csv: HTTP 404 Not Found; put the file.*them"):
        download.fetch(declared, tmp_path)

    assert [path.name for path in cached_files(declared)] == ["good.csv"]


def test_two_at_the_same_time(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Two runs that download the same file do not disturb one another."""
    declared = declare(server, tmp_path, "good.csv")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: download.fetch(declared, tmp_path), range(4)))

    assert {path.read_bytes() for (path,) in results} == {GOOD}
    assert len(cached_files(declared)) == 1


def test_bytes_are_taken_as_they_are_stored(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """No compression is asked for: a compressed file keeps its sha256."""
    asked: list[str] = []
    handler = server.RequestHandlerClass
    handler.send_response = recording(handler.send_response, asked)
    download.fetch(declare(server, tmp_path, "good.csv"), tmp_path)

    assert asked == ["identity"]


def recording(send: Callable[..., None], asked: list[str]) -> Callable[..., None]:
    def sending(self: Handler, *arguments: object) -> None:
        asked.append(self.headers["Accept-Encoding"])
        send(self, *arguments)

    return sending


def test_no_server(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A refused connection is reported like any other failure."""
    declared = declare(server, tmp_path, "good.csv")
    server.socket.close()

    reported = error_of(declared, tmp_path)

    assert reported.startswith(f"cannot download {declared.url}good.csv: ")
    assert reported.endswith(remedy(declared))


@pytest.mark.parametrize("variable", ["DEEPLOC_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """Offline nothing is asked of the net, and what was put into the cache by hand is used."""
    monkeypatch.setenv(variable, "1")
    declared = declare(server, tmp_path, "data/good.csv")

    assert error_of(declared, tmp_path) == (
        f"cannot download {declared.url}data/good.csv: offline mode (DEEPLOC_OFFLINE or "
        f"HF_HUB_OFFLINE is set) and it is not cached{remedy(declared)}"
    )
    by_hand = download.cache_folder(declared.url) / "data" / "good.csv"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(GOOD)

    assert download.fetch(declared, tmp_path) == [by_hand]
    assert server.RequestHandlerClass.requests == []


def test_own_folder(
    server: ThreadingHTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files of the user's folder are found by path or name; an edited file is used and reported."""
    declared = declare(server, tmp_path, "data/good.csv", "data/edited.csv")
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "data" / "good.csv").write_bytes(GOOD)
    (own / "edited.csv").write_bytes(GOOD + b"e f,S\n")
    source = Source(download=declared)

    result = stimuli.records(source, base=tmp_path, folder=own)

    assert [record.id for record in result] == [
        "good.csv:2",
        "good.csv:3",
        "edited.csv:2",
        "edited.csv:3",
        "edited.csv:4",
    ]
    assert caplog.messages == [
        f"{own / 'edited.csv'} differs from the published data/edited.csv; it is used as it is"
    ]
    assert server.RequestHandlerClass.requests == []


def test_own_folder_without_the_file(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A file that the folder lacks is never fetched instead."""
    declared = declare(server, tmp_path, "data/good.csv")

    with pytest.raises(ContrastError) as caught:
        download.find(declared, tmp_path, tmp_path / "own")
    assert str(caught.value) == (
        f"good.csv is not in {tmp_path / 'own'}; it must lie there, or below it as data/good.csv"
    )


@pytest.mark.parametrize(
    ("row", "reported"),
    [
        (f"../up.csv,{SHA}", "manifest.csv:2: a manifest needs"),
        (f"/top.csv,{SHA}", "manifest.csv:2: a manifest needs"),
        ("good.csv,123", "manifest.csv:2: a manifest needs"),
        (f"other.csv,{SHA}", "no path of"),
    ],
)
def test_faulty_manifest(
    server: ThreadingHTTPServer, tmp_path: Path, row: str, reported: str
) -> None:
    """A manifest cannot lead out of the cache, nor leave a file unchecked."""
    declared = declare(server, tmp_path, files="good.csv")
    (tmp_path / "manifest.csv").write_text(f"path,sha256\n{row}\n")

    assert error_of(declared, tmp_path).startswith(reported)


# Archives


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def odd_zip(mode: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("odd")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    return packed.getvalue()


def locked_zip() -> bytes:
    packed = bytearray(zipped({"a": b"x"}))
    for start in (packed.index(b"PK\x03\x04") + 6, packed.index(b"PK\x01\x02") + 8):
        packed[start] |= 1
    return bytes(packed)


def odd_tar(kind: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return packed.getvalue()


def of_archive(
    server: ThreadingHTTPServer, packed: bytes, name: str = "x.zip", *, files: str = "*"
) -> Download:
    server.RequestHandlerClass.served[f"/archives/{name}"] = packed
    url = f"http://127.0.0.1:{server.server_address[1]}/archives/{name}"
    return Download(url=url, sha256=hashlib.sha256(packed).hexdigest(), files=(files,))


CONTENT = {"set/b.csv": GOOD, "set/a.csv": GOOD, "set/.hidden.csv": b"x", "readme.md": b"x"}


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("x.zip", zipped(CONTENT)),
        ("x.tar", tarred(CONTENT)),
        ("x.tar.gz", tarred(CONTENT, "w:gz")),
        ("x", tarred(CONTENT, "w:xz")),
    ],
)
def test_archives(server: ThreadingHTTPServer, tmp_path: Path, name: str, packed: bytes) -> None:
    """An archive is fetched and unpacked once; `files` chooses among its paths, in their order."""
    declared = of_archive(server, packed, name, files="*.csv")

    result = stimuli.records(Source(download=declared), base=tmp_path)
    asked = len(server.RequestHandlerClass.requests)
    again = download.fetch(declared, tmp_path)

    assert [row.id for row in result] == ["a.csv:2", "a.csv:3", "b.csv:2", "b.csv:3"]
    assert [path.name for path in again] == ["a.csv", "b.csv"]
    assert asked == len(server.RequestHandlerClass.requests) > 0


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (zipped({"../up.csv": b"x"}), "holds '../up.csv', which may lead out"),
        (zipped({"a/../../up.csv": b"x"}), "holds 'a/../../up.csv', which may lead out"),
        (zipped({"/top.csv": b"x"}), "holds '/top.csv', which may lead out"),
        (zipped({"C:\\up.csv": b"x"}), "which may lead out"),
        (tarred({"../up.csv": b"x"}), "holds '../up.csv', which may lead out"),
        (tarred({"/top.csv": b"x"}), "holds '/top.csv', which may lead out"),
        (odd_zip(stat.S_IFLNK | 0o777), "holds 'odd', which is a link or a device"),
        (odd_zip(stat.S_IFCHR), "holds 'odd', which is a link or a device"),
        (odd_tar(tarfile.SYMTYPE), "holds 'odd', which is a link or a device"),
        (odd_tar(tarfile.LNKTYPE), "holds 'odd', which is a link or a device"),
        (odd_tar(tarfile.CHRTYPE), "holds 'odd', which is a link or a device"),
        (odd_tar(tarfile.FIFOTYPE), "holds 'odd', which is a link or a device"),
        (tarred({"a": b"x", "./a": b"y"}), "holds './a' twice"),
        (zipped({f"{i}": b"x" for i in range(9)}), "holds more than 8 files and folders"),
        (tarred({f"{i}": b"x" for i in range(9)}), "holds more than 8 files and folders"),
        (zipped({"a": b"0" * 2000, "b": b"0" * 2000}), "unpacks to more than 3,000 bytes"),
        (tarred({"a": b"0" * 4000}, "w:gz"), "unpacks to more than 3,000 bytes"),
        (zipped({"a": b"0" * 2000})[:90], "the archive cannot be unpacked"),
        (tarred({"a": b"0" * 2000})[:1500], "the archive cannot be unpacked"),
        (b"<html>sign in</html>", "the archive cannot be unpacked"),
        (zipped({}), "the archive holds no files"),
        (locked_zip(), "the archive's 'a' needs a password"),
    ],
    ids=range(22),
)
def test_hostile_archives(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packed: bytes,
    reason: str,
) -> None:
    """What leads out of its folder, is no file, or is too much is refused, and nothing unpacked."""
    monkeypatch.setattr(archives, "MAX_FILES", 8)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 3000)
    declared = of_archive(server, packed)

    with pytest.raises(ContrastError) as caught:
        download.fetch(declared, tmp_path)

    reported = str(caught.value)
    assert reported.startswith(f"cannot download {declared.url}: ")
    assert reason in reported
    assert "\n" not in reported
    assert [p.name for p in cached_files(declared)] == ["x.zip"]
    assert not [p for p in tmp_path.rglob("*") if p.name in ("up.csv", "top.csv")]


def test_a_member_that_claims_less_than_it_is(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """The bytes that come out are counted, not those that were promised."""
    packed = bytearray(zipped({"a": b"0" * 4000}))
    for place in [m.start() for m in re.finditer(re.escape((4000).to_bytes(4, "little")), packed)]:
        packed[place : place + 4] = (10).to_bytes(4, "little")
    declared = of_archive(server, bytes(packed))

    with pytest.raises(ContrastError, match="cannot be unpacked: Bad CRC-32"):
        download.fetch(declared, tmp_path)


def test_archives_with_another_hash_are_not_unpacked(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was downloaded but is not what was declared is dropped."""
    monkeypatch.setattr(transfer, "RETRIES", 0)
    declared = of_archive(server, zipped(CONTENT)).model_copy(update={"sha256": "0" * 64})

    with pytest.raises(ContrastError, match=r"expected 0000.*by hand.*--stimuli DIR"):
        download.fetch(declared, tmp_path)
    assert cached_files(declared) == []


def test_an_archive_offline(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline an archive that was put into the cache by hand is unpacked, else missing."""
    monkeypatch.setenv("DEEPLOC_OFFLINE", "1")
    packed = zipped(CONTENT)
    declared = of_archive(server, packed, files="set/*")

    with pytest.raises(ContrastError, match=r"offline mode .* and it is not cached; put the file"):
        download.fetch(declared, tmp_path)
    cache = download.cache_folder(declared.url)
    cache.mkdir(parents=True)
    (cache / "x.zip").write_bytes(packed)

    assert [path.name for path in download.fetch(declared, tmp_path)] == ["a.csv", "b.csv"]
    assert server.RequestHandlerClass.requests == []


def test_the_users_copy_of_an_archive(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """With --stimuli the unpacked files are looked for in the folder."""
    declared = of_archive(server, zipped(CONTENT), files="set/*.csv")
    own = tmp_path / "own"
    (own / "set").mkdir(parents=True)
    (own / "set" / "a.csv").write_bytes(GOOD)

    assert download.find(declared, tmp_path, own) == [own / "set" / "a.csv"]
    with pytest.raises(
        ContrastError, match=r"no file in .* matches set/\*\.csv; there are 1 files"
    ):
        download.find(declared, tmp_path, own / "set")


@pytest.mark.parametrize(
    ("stated", "reported"),
    [
        ({}, "has neither"),
        ({"manifest": "a.csv", "sha256": "0" * 64}, "has both"),
        ({"sha256": "12"}, "String should match pattern"),
    ],
)
def test_a_download_is_checked_one_way(stated: dict[str, str], reported: str) -> None:
    """Nothing is downloaded unchecked, and it is clear against what."""
    with pytest.raises(ValueError, match=reported):
        Download.model_validate({"url": "https://example.org/x.zip", **stated})
