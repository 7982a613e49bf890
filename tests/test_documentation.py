"""What README and docs tell a reader to type is accepted here, and their links lead on."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from vq2d.commands.main import COMMANDS

PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "data/README.md",
    ROOT / "data/sample/README.md",
    *sorted((ROOT / "ren_core/assets").glob("*.md")),
)
BLOCK = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(?:python -m )?vq2d ([a-z-]+)[ `]")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SETTING = re.compile(r"[A-Z][A-Z0-9_]*=")
NOT_RUN = {"source", "pip", "conda", "docker", "torchrun", "apt-get", "aws"}
"""They change the machine, or need what a test has not."""
PROGRAMS = NOT_RUN | {"vq2d", "make", "python", "ego4d", "eval"}


def typed_lines():
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            joined = block.replace("\\\n", " ").replace(" && ", "\n")
            for line in joined.splitlines():
                words = shlex.split(line, comments=True) if is_typed(line) else []
                while words and SETTING.match(words[0]):
                    words = words[1:]
                if words:
                    yield pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")


def is_typed(line):
    words = line.split()
    while words and SETTING.match(words[0]):
        words = words[1:]
    return bool(words) and words[0] in PROGRAMS


def accepts(parser, words):
    try:
        parser.parse_args(words)
    except SystemExit as end:
        return end.code == 0
    return True


@pytest.mark.parametrize("words", list(typed_lines()))
def test_what_is_to_be_typed_is_accepted(words):
    program, *rest = words
    if program == "vq2d" and rest[0] in COMMANDS:
        assert accepts(COMMANDS[rest[0]].parser("vq2d"), rest[1:])
    elif program == "vq2d":
        assert rest == ["--help"]
    elif program == "make":
        subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, check=True, capture_output=True)
    elif program == "python":
        accepts_script(rest)
    elif program == "ego4d":
        assert shutil.which("ego4d", path=str(Path(sys.executable).parent))
    elif program == "eval":
        assert rest == ["$(vq2d completion bash)"]
    else:
        assert program in NOT_RUN


def accepts_script(rest):
    if rest[0] == "-m":
        name, given = rest[1], rest[2:]
    else:
        name, given = rest[0].removesuffix(".py").replace("/", "."), rest[1:]
    module = importlib.import_module(name)
    if hasattr(module, "build_parser"):
        assert accepts(module.build_parser(), given)
    else:
        assert callable(module.main)


def test_something_is_typed_on_the_front_page():
    ids = [param.id for param in typed_lines() if param.id.startswith("README.md")]
    assert len(ids) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_exist_and_links_lead_somewhere(page):
    text = page.read_text()
    assert set(INLINE.findall(text)) <= set(COMMANDS)
    lost = [
        link for link in LINK.findall(FENCED.sub("", text)) if not (page.parent / link).exists()
    ]
    assert lost == []


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8 * 1024


def test_completion_works_in_a_shell(tmp_path):
    script = 'eval "$($PYTHON -m vq2d completion bash)"; complete -p vq2d'
    command = ["env", f"PYTHON={sys.executable}", "bash", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "vq2d" in done.stdout
