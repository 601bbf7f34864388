"""Every notebook of the documentation runs, and shows a table and a figure."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
FIGURE = "application/vnd.plotly.v1+json"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_a_notebook_runs_and_shows_a_table_and_a_figure(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), (
        "it is committed without outputs: they are megabytes"
    )
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("<table" in data.get("text/html", "") for data in shown)
    assert any(FIGURE in data for data in shown)
    assert list(tmp_path.iterdir()) == []
