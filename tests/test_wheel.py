"""The wheel: what is in it, and that it answers a question in a bare environment."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

import vq2d
from ren_core.weight_files import cache_dir
from tests.places import ROOT, SAMPLE

CLIP = SAMPLE / "v2/clips/93f8aedb-302e-5f49-a4f2-7d2e11c39041.mp4"
PINNED = ("--constraint", str(ROOT / "constraints.txt"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("ren_core", "vq2d", "eval", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_two_packages_with_all_their_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"ren_core", "vq2d"}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "ren_core", "vq2d"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(tracked) <= set(names)
    assert {"ren_core/py.typed", "vq2d/py.typed"} <= set(names)
    assert "Version: 0.2.0" in text
    for extra in ("sam2", "slic", "ego4d", "eval", "page"):
        assert f"Provides-Extra: {extra}" in text


def test_importing_the_public_names_is_light_until_one_is_asked_for():
    code = "import sys, vq2d, ren_core; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in vq2d.__all__:
        assert getattr(vq2d, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = vq2d.nothing


ANSWER = """
from pathlib import Path
from vq2d import ask_by_moment, localize_in, open_localizer, open_video

frames = open_video(Path("clip.mp4"))
asked = ask_by_moment(frames, 34.8, (226, 173, 203, 82), 9.8)
found = localize_in(frames, asked.question, open_localizer("embedded"), cache=Path("cache"))
print(found.track.end_frame)
"""


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(1500)
def test_a_bare_environment_answers_from_the_wheel(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(CLIP, elsewhere / "clip.mp4")
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    clean["REN_CACHE"] = str(cache_dir())

    def run(*words):
        done = subprocess.run(words, cwd=elsewhere, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = (str(programs / "python"), "-m", "pip", "install", "--quiet")
    run(*pip, *PINNED, str(wheel))
    where = run(str(programs / "python"), "-c", "import vq2d; print(vq2d.__file__)")
    assert str(tmp_path / "venv") in where

    box = ("--at", "34.8", "--box", "226,173,203,82", "--until", "9.8")
    answer = run(str(programs / "vq2d"), "localize", "clip.mp4", *box, "--out", "answer")
    assert "last seen from" in answer
    track = json.loads((elsewhere / "answer" / "answer.json").read_text())["track"]
    assert 30 <= int(run(str(programs / "python"), "-c", ANSWER)) <= 40  # the truth ends at 34
    assert track is not None
