"""A hub with one data set and one model, as far as it is asked, and one that can be written to."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAME = "owner/moods"
SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves ``files`` (path -> content) as the data set and the model `NAME` at revision `SHA`."""

    files: Mapping[str, bytes]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        api = f"/api/{'models' if path.startswith('/api/models/') else 'datasets'}/{NAME}"
        if path in (api, f"{api}/revision/{SHA}", f"{api}/revision/main"):
            files = [{"rfilename": file} for file in self.files if "/models/" in api]
            self.say({"id": NAME, "sha": SHA, "siblings": files, "private": False, "tags": []})
        elif path.startswith(f"{api}/tree/{SHA}"):
            self.say(self.tree(path.removeprefix(f"{api}/tree/{SHA}").strip("/")))
        elif path.startswith(f"{api}/paths-info/"):
            self.say([self.entry(p) for p in self.asked() if self.entry(p)])
        elif f"/{NAME}/resolve/{SHA}/" in path:
            self.send_file(path.partition(f"/{NAME}/resolve/{SHA}/")[2])
        else:
            missing = "RevisionNotFound" if path.startswith(f"{api}/revision/") else "RepoNotFound"
            self.say({}, 404, {"X-Error-Code": missing})

    do_HEAD = do_POST = do_GET

    def tree(self, folder: str) -> list[dict[str, Any] | None]:
        start = f"{folder}/" if folder else ""
        inside = [path for path in self.files if path.startswith(start)]
        if "recursive=true" in self.path.lower():
            return [self.entry(path) for path in inside]
        return [
            self.entry(p) for p in sorted({start + p[len(start) :].split("/")[0] for p in inside})
        ]

    def entry(self, path: str) -> dict[str, Any] | None:
        if path in self.files:
            content = self.files[path]
            oid = hashlib.sha1(content).hexdigest()
            return {"type": "file", "path": path, "size": len(content), "oid": oid}
        if any(known.startswith(f"{path}/") for known in self.files):
            return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
        return None

    def asked(self) -> list[str]:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        return paths if isinstance(paths, list) else [paths]

    def send_file(self, path: str) -> None:
        if path not in self.files:
            self.say({}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content, headers = self.files[path], {"X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.command == "GET":
            start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            self.send(content[start : end + 1], 206, headers)
        else:
            self.send(content, 200, headers)

    def say(self, value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send(json.dumps(value).encode(), code, headers or {})

    def send(self, body: bytes, code: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class Writable(Hub):
    """A hub whose only repository, a model of any name, can be made and written to."""

    files: dict[str, bytes]
    made: list[dict[str, Any]]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self.made:
            self.say({}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in path:
            self.say([self.entry(name) for name in sorted(self.files)])
        elif "/resolve/" in path:
            self.send_file(path.partition("/resolve/")[2].partition("/")[2])
        else:
            self.say({"id": self.made[0]["name"], "sha": SHA, "siblings": []})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            name = f"{self.made[0]['organization']}/{self.made[0]['name']}"
            self.say({"url": f"http://{self.headers['Host']}/{name}"})
        elif self.path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self.say({"files": modes})
        elif "/commit/" in self.path and "Bearer hf_right" in self.headers["Authorization"]:
            lines = [json.loads(line) for line in body.splitlines()]
            for value in (line["value"] for line in lines if line["key"] == "file"):
                self.files[value["path"]] = base64.b64decode(value["content"])
            here = f"http://{self.headers['Host']}/{self.path.split('/')[3]}/nets/commit/{SHA}"
            self.say({"commitUrl": here, "commitOid": SHA, "success": True})
        else:
            self.say({"error": "You are not allowed to write here"}, 403)


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve the files; lend the address of the hub."""
    with _served(type("H", (Hub,), {"files": files})) as address:
        yield address


@contextmanager
def writable() -> Iterator[tuple[str, type[Writable]]]:
    """Serve an empty hub; lend its address, and what is in it."""
    held = type("H", (Writable,), {"files": {}, "made": []})
    with _served(held) as address:
        yield address, held


@contextmanager
def _served(handler: type[Hub]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_address[1]}"
        finally:
            served.shutdown()
            thread.join()
