"""The whitening command fits a small composite."""

import pytest

from pipelines import fit_whitening
from pipelines.shared import reid
from ren_core.encoders import catalog
from ren_core.encoders.embedded import load_composite
from ren_core.errors import ConfigError


def test_a_folder_without_pictures_is_said(tmp_path, capsys):
    assert fit_whitening.main(["--pictures", str(tmp_path)]) == 1
    assert f"no *.jpg in {tmp_path}" in capsys.readouterr().err


def test_every_nth_of_each_folder_photographs_first(tmp_path):
    photographs = tmp_path / "data" / fit_whitening.FOLDERS[0]
    rooms = tmp_path / "rooms"
    for folder, count in ((photographs, 4), (rooms / "a", 3), (rooms / "b", 2)):
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.jpg").touch()
    files = fit_whitening.find_files(tmp_path / "data", rooms, every=3)
    names = [str(file.relative_to(tmp_path)) for file in files]
    assert names == [
        f"data/{fit_whitening.FOLDERS[0]}/0.jpg",
        f"data/{fit_whitening.FOLDERS[0]}/3.jpg",
        "rooms/a/0.jpg",
        "rooms/b/0.jpg",
    ]
    assert fit_whitening.find_files(None, rooms, every=3) == files[2:]
    assert fit_whitening.main([]) == 2


def test_parts_are_parsed():
    part = fit_whitening.parse_part("mobilenet.13:64:0.7")
    assert (str(part.source), part.dim, part.weight) == ("mobilenet.13", 64, 0.7)
    with pytest.raises(ConfigError, match=r"'vit\.13'"):
        fit_whitening.parse_part("vit.13")


@pytest.mark.data
def test_whitening_is_fitted_and_written(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_whitening, "load_embedded", lambda *_, **__: None)  # random weights
    out = tmp_path / "whitening.safetensors"
    command = ["--data", str(shared / "data" / "train"), "--every", "200", "--input-size", "28"]
    command += ["--parts", "vit.1:16:1.0", "mobilenet.3:8:0.5", "--out", str(out)]
    assert fit_whitening.main(command) == 0
    shapes = {str(s): tuple(w.projection.shape) for s, w in load_composite(out).items()}
    assert shapes == {"vit.1": (384, 16), "mobilenet.3": (24, 8)}
    monkeypatch.setattr(catalog, "load_embedded", lambda *_, **__: None)
    encoder = reid.build_composite(out, input_size=28)
    assert (encoder.spec.name, encoder.spec.dim) == ("whitening", 24)
    assert fit_whitening.main([*command, "--data", str(tmp_path)]) == 1
    assert fit_whitening.main([*command, "--parts", "vit"]) == 2
