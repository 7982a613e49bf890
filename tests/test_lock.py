"""One file holds the versions from which everything is installed."""

import re

import pytest
import tomllib

from tests.places import ROOT

LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINNED = {line.split("==")[0] for line in LINES if "==" in line}


def normal(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_requirement_has_its_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = list(project["dependencies"])
    for extra, its in project["optional-dependencies"].items():
        texts += [] if extra in ("exports", "cluster") else its  # not part of the development set
    assert {normal(text) for text in texts} - {"ren-vq2d"} <= PINNED


@pytest.mark.parametrize("name", ["Makefile", "environment.yml", ".github/workflows/ci.yml"])
def test_no_other_file_names_a_version_of_a_package(name):
    text = (ROOT / name).read_text()
    assert "constraints.txt" in text or "make " in text
    assert not re.search(r"\b(torch|torchvision|sam2|fast-slic|numpy)==", text)
