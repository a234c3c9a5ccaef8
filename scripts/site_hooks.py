"""What mkdocs does beside its own: notebooks as pages, and files that lie outside docs/.

Pages are written to be read on GitHub. Here their links are turned into those of the site.
"""

import os
import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from notebooks import execute  # mkdocs finds what lies beside a hook while it imports the hook

ROOT = Path(__file__).parents[1]
EXECUTE = "DEEPLOC_DOCS_EXECUTE"
"""Set to anything: notebooks are executed, and their pages show what came out."""

OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
"""Pages of the repository that are no files of docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and the pages from outside docs/."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        source = Path(str(notebook.abs_src_path))
        for uri, content in pages_of(source, notebook.src_uri).items():
            files.append(File.generated(config, uri, content=content))
    for name in OUTSIDE:
        files.append(File.generated(config, name, content=outside(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the pages of the site."""
    del page, config, files  # mkdocs passes them by name
    markdown = re.sub(r"\]\(([\w./-]+)\.ipynb\)", r"](\1.md)", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+examples/[\w./-]*\)", "](examples/README.md)", markdown)
    # GitHub wants a | in the code of a table escaped, and Python-Markdown shows the escape
    markdown = re.sub(r"`[^`\n]+`", lambda code: code[0].replace("\\|", "|"), markdown)
    return re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md\)", r"](\1.md)", markdown)


def pages_of(source: Path, uri: str) -> dict[str, str | bytes]:
    """Return the page of a notebook and the pictures on it, by their place on the site.

    Parameters
    ----------
    source
        The notebook; executed in an empty folder if the environment says so.
    uri
        Its place below docs/.
    """
    notebook = nbformat.read(source, as_version=4)
    if os.environ.get(EXECUTE):
        execute(notebook)
    stem = uri.removesuffix(".ipynb")
    body, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": Path(stem).name, "output_files_dir": "output"}
    )
    body = body.replace("![png](", "![What the code above draws](")
    note = f"\n\n*The notebook of this page: `docs/{uri}`.*\n"
    folder = Path(stem).parent
    pictures = {str(folder / name): data for name, data in resources["outputs"].items()}
    return {f"{stem}.md": body + note, **pictures}


def outside(name: str) -> str:
    """Return a page of the repository, its links as those of a page of docs/."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    if name.startswith("examples/"):
        files = sorted(p for p in (ROOT / "examples").rglob("*") if p.suffix in LANGUAGES)
        text += "".join(map(shown, files))
    return text


LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}


def shown(path: Path) -> str:
    """Return a file of the examples as a section of their page."""
    body = path.read_text(encoding="utf-8").rstrip()
    title = path.relative_to(ROOT / "examples").as_posix()
    return f"\n## {title}\n\n```{LANGUAGES[path.suffix]}\n{body}\n```\n"
