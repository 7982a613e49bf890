"""The notebook of the documentation runs, and finds the thing."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.places import ROOT


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
@pytest.mark.timeout(900)
def test_the_notebook_gives_a_first_answer():
    notebook = nbformat.read(ROOT / "docs/first_answer.ipynb", as_version=4)
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": ROOT / "docs"}}).execute()
    (asked,) = (cell for cell in notebook.cells if "track.end_frame" in cell.source)
    answer = asked.outputs[-1].data["text/plain"].strip("()").split(",")
    assert 30 <= int(answer[1]) <= 40  # the truth ends at 34
    assert "image/png" in notebook.cells[-1].outputs[-1].data
