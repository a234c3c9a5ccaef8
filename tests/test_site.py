"""The documentation as a site: it builds strictly, asks for nothing, and agrees with the code."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import deeploc

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
sys.path.insert(0, str(ROOT / "scripts"))

import reference_pages  # noqa: E402

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches to show a page: tag -> the attribute with its address."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site; notebooks are not executed, tests/test_tutorials.py does that."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    environment.pop("DEEPLOC_DOCS_EXECUTE", None)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(site: Path) -> Iterator[tuple[str, str, dict[str, str | None]]]:
    for page in site.rglob("*.html"):
        for tag, attributes in Elements(page).found:
            yield page.name, tag, attributes


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    """Scripts, pictures, styles and fonts are files of the site."""
    fetched = [
        (page, attributes[FETCHED[tag]] or "")
        for page, tag, attributes in elements(site)
        if FETCHED.get(tag) in attributes
    ]
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))

    assert len(fetched) > 100
    assert [entry for entry in fetched if re.match(r"(\w+:)?//", entry[1])] == []
    assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", styles)


def test_pictures_have_a_text(site: Path) -> None:
    """For those who do not see them; the one of the report is small, too."""
    pictures = [attributes for _, tag, attributes in elements(site) if tag == "img"]

    assert pictures
    assert all(attributes.get("alt") for attributes in pictures)
    assert (DOCS / "images" / "report.png").stat().st_size < 200_000


def test_every_page_is_on_the_site(site: Path) -> None:
    """Each page of docs/ and each notebook."""
    sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    missing = [
        page
        for path in sources
        if not (site / (page := built(path.relative_to(DOCS).as_posix()))).is_file()
    ]

    assert missing == []


def built(source: str) -> str:
    page = re.sub(r"\.(md|ipynb)$", ".html", source)
    return re.sub(r"(^|/)README\.html$", r"\1index.html", page)


def test_a_bar_in_the_code_of_a_table_is_shown_plain(site: Path) -> None:
    """GitHub needs it escaped there; on the site no escape is left."""
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")

    assert "<code>AUTO|N</code>" in page
    assert "\\|" not in page


def test_examples_are_shown(site: Path) -> None:
    """The page of the examples holds their files."""
    page = (site / "examples" / "index.html").read_text(encoding="utf-8")

    assert "lesion_matrix.py" in page
    assert "one_file_adapter.py" in page


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_reference_pages_are_current(name: str) -> None:
    """What is committed is what the code says; else run scripts/reference_pages.py."""
    committed = (DOCS / "reference" / name).read_text(encoding="utf-8")

    assert committed == reference_pages.PAGES[name](), "run `python scripts/reference_pages.py`"


def test_the_python_api_is_that_of_the_package() -> None:
    """Each public name once, and no other."""
    page = (DOCS / "reference" / "python-api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: deeploc\.(\w+)$", page, re.MULTILINE)

    assert sorted(documented) == sorted(deeploc.__all__)


def targets(page: Path) -> list[str]:
    """Return the files that a page links to, as written, without anchors."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link.partition("#")[0] for link in links if not re.match(r"\w+:|#", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    """Pages are read on a code host, too, where no site is built."""
    assert [link for link in targets(page) if not (page.parent / link).exists()] == []


def test_llms_txt_names_pages() -> None:
    """A title, a summary, and links that lead to files (llmstxt.org)."""
    page = DOCS / "llms.txt"
    lines = page.read_text(encoding="utf-8").splitlines()
    links = targets(page)

    assert lines[0] == "# deeploc"
    assert lines[2].startswith("> ")
    assert len(links) > 10
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_citation_is_complete() -> None:
    """The keys that the Citation File Format 1.2.0 requires, and the version of the package."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert f'version = "{citation["version"]}"' in project
    assert all({"type", "title", "authors"} <= set(entry) for entry in citation["references"])
