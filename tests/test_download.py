"""Downloads: only what has the declared hash is kept, and every failure says what to do."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deeploc import stimuli
from deeploc.errors import ContrastError
from deeploc.stimuli import Source, download
from deeploc.stimuli.sources import Download

GOOD = b"text,kind\na b,S\nc d,N\n"
SHA = hashlib.sha256(GOOD).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves one good file, a corrupt one, one that breaks off and one that is too large."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        kind = Path(self.path).stem
        if kind == "absent":
            self.send_error(404)
            return
        body = b"text\nother\n" if kind == "corrupt" else GOOD
        extra = {"broken": 10, "large": 10_000}.get(kind, 0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + extra))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("H", (Handler,), {"requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def declare(server: ThreadingHTTPServer, folder: Path, *paths: str, files: str = "*") -> Download:
    rows = "".join(f"{path},{SHA}\n" for path in paths)
    (folder / "manifest.csv").write_text(f"path,sha256\n{rows}")
    url = f"http://127.0.0.1:{server.server_address[1]}/base/"
    return Download(url=url, manifest="manifest.csv", files=(files,))


def fault(declared: Download, folder: Path) -> str:
    with pytest.raises(ContrastError) as caught:
        download.fetch(declared, folder)
    assert not [p for p in download.cache_folder(declared.url).rglob("*") if p.is_file()]
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

    found = stimuli.records(source, base=tmp_path)

    assert [(record.id, record.fields["text"]) for record in found] == [("good.csv:2", "a b")]


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
            "its 11 bytes have sha256 "
            f"{hashlib.sha256(b'text' + bytes([10]) + b'other' + bytes([10])).hexdigest()}, "
            f"declared is {SHA}",
        ),
        ("broken", "the connection ended after 22 of 32 bytes"),
        ("large", "larger than 1,000 bytes"),
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
    declared = declare(server, tmp_path, f"data/{name}.csv")

    assert fault(declared, tmp_path) == (
        f"cannot download {declared.url}data/{name}.csv: {reason}{remedy(declared)}"
    )


def test_no_server(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A refused connection is told like any other failure."""
    declared = declare(server, tmp_path, "good.csv")
    server.socket.close()

    told = fault(declared, tmp_path)

    assert told.startswith(f"cannot download {declared.url}good.csv: ")
    assert told.endswith(remedy(declared))


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

    assert fault(declared, tmp_path) == (
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
    """Files of the user's folder are found by path or name; an edited copy is used and told."""
    declared = declare(server, tmp_path, "data/good.csv", "data/edited.csv")
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "data" / "good.csv").write_bytes(GOOD)
    (own / "edited.csv").write_bytes(GOOD + b"e f,S\n")
    source = Source(download=declared)

    found = stimuli.records(source, base=tmp_path, folder=own)

    assert [record.id for record in found] == [
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
    ("row", "told"),
    [
        (f"../up.csv,{SHA}", "manifest.csv:2: a manifest needs"),
        (f"/top.csv,{SHA}", "manifest.csv:2: a manifest needs"),
        ("good.csv,123", "manifest.csv:2: a manifest needs"),
        (f"other.csv,{SHA}", "no path of"),
    ],
)
def test_faulty_manifest(server: ThreadingHTTPServer, tmp_path: Path, row: str, told: str) -> None:
    """A manifest cannot lead out of the cache, nor leave a file unchecked."""
    declared = declare(server, tmp_path, files="good.csv")
    (tmp_path / "manifest.csv").write_text(f"path,sha256\n{row}\n")

    assert fault(declared, tmp_path).startswith(told)
