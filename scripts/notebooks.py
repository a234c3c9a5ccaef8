"""Execute a notebook as a reader would, for the site and for the tests."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KERNEL = ["--InteractiveShell.system_raise_on_error=True"]
"""A command line that fails (`!deeploc ...`) fails its cell, as a statement does."""


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run the cells of a notebook in an empty folder; what they print is kept in it.

    Parameters
    ----------
    notebook
        The notebook; changed in place.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell, or a command in it, fails.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            extra_arguments=KERNEL,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=os.environ | {"PATH": path})
    for cell in notebook.cells:  # progress and logs are no part of the page
        if cell.cell_type == "code":
            cell.outputs = [part for part in cell.outputs if part.get("name") != "stderr"]
