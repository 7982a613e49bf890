"""One's own video: what is asked, refused, said and drawn; tiny models in place of trained ones."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from ren_core.errors import ConfigError, StaleStageError
from tests.clips import RED, frame, place
from tests.job import CONFIG, tiny_localizer
from tests.synthetic import write_video
from vq2d.commands import localize
from vq2d.commands import run as run_vq2d
from vq2d.commands import shared as vq2d_models
from vq2d.job.own_video import ask_by_moment, ask_by_pictures
from vq2d.video.frames import open_video

GREEN = (30, 220, 60)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Six seconds; a red square is seen from 0.6 s to 1.4 s and from 3.0 s to 4.0 s."""
    path = tmp_path_factory.mktemp("own") / "kitchen.mp4"
    return write_video(path, [frame(i) for i in range(30)])


@pytest.fixture
def ask(video, tmp_path, monkeypatch):
    """Calls the command line with tiny models; the floor of a believable answer can be chosen."""

    def call(*arguments, floor=0.5):
        config = replace(CONFIG, refine=replace(CONFIG.refine, floor=floor))
        localizer = tiny_localizer(config)
        monkeypatch.setattr(localize, "chosen_localizer", lambda _: ("tiny", localizer))
        places = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
        return localize.main([str(video), *arguments, *places])

    return call


@pytest.fixture
def no_models(monkeypatch):
    """Makes the loading of models an error of the test."""

    def fail(_):
        raise AssertionError("the models were loaded before the question was checked")

    monkeypatch.setattr(localize, "chosen_localizer", fail)


def box_text(i):
    x1, y1, x2, y2 = place(RED, i)
    return f"{x1},{y1},{x2 - x1},{y2 - y1}"


def test_the_given_picture_is_drawn_as_the_query(ask, tmp_path):
    picture = np.full((60, 60, 3), RED, np.uint8)
    picture[:30] = GREEN  # nowhere in the video
    cv2.imwrite(str(tmp_path / "object.png"), picture[..., ::-1])
    assert ask("--query", str(tmp_path / "object.png")) == 0
    poster = cv2.imread(str(tmp_path / "out/answer.jpg"))[..., ::-1].astype(int)
    assert (np.abs(poster - GREEN).max(axis=2) < 40).sum() > 1000
    capture = cv2.VideoCapture(str(tmp_path / "out/answer.mp4"))
    shown = capture.read()[1][..., ::-1].astype(int)
    capture.release()
    assert (np.abs(shown - GREEN).max(axis=2) < 60).sum() > 1000
    summary = cv2.imread(str(tmp_path / "out/answer.png"))[..., ::-1].astype(int)
    assert (np.abs(summary - GREEN).max(axis=2) <= 2).sum() > 10000


def save(path, image):
    Image.fromarray(image).save(path)
    return str(path)


@pytest.fixture
def red_and_green():
    """A picture of 80 x 60 pixels, red in a corner, else green."""
    picture = np.full((60, 80, 3), GREEN, np.uint8)
    picture[30:50, 50:70] = RED
    return picture


def test_several_pictures_are_asked_at_once(ask, tmp_path, capsys, red_and_green):
    red = save(tmp_path / "red.png", red_and_green[30:50, 50:70])
    green = save(tmp_path / "green.png", red_and_green[:20])
    assert ask("--query", green, floor=1.0) == 3
    assert "probably not in this video" in capsys.readouterr().out
    for both in ((red, green), (green, red)):
        assert ask("--query", *both) == 0
        printed = capsys.readouterr().out
        assert "last seen from 0:03.0 to 0:04.0" in printed
        assert "probably" not in printed


def test_the_box_of_a_picture_and_its_opaque_part_are_the_object(
    ask, tmp_path, capsys, red_and_green
):
    whole = save(tmp_path / "whole.png", red_and_green)
    assert ask("--query", whole, "--query-box", "50,30,20,20") == 0
    assert "last seen from 0:03.0 to 0:04.0" in capsys.readouterr().out

    is_red = (red_and_green == RED).all(axis=2)
    rgba = np.dstack([red_and_green, is_red.astype(np.uint8) * 255])
    cut_out = save(tmp_path / "cut.png", rgba)
    assert ask("--query", cut_out) == 0
    assert "last seen from 0:03.0 to 0:04.0" in capsys.readouterr().out


def test_a_box_counts_in_pixels_of_the_upright_file(tmp_path, video, red_and_green):
    frames = open_video(video)
    large = Image.fromarray(red_and_green).resize((3200, 2400), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 8
    large.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "large.png", exif=exif)
    box = (2000, 1200, 800, 99_999)
    asked = ask_by_pictures(frames, [tmp_path / "large.png"], None, box_xywh=box)
    (view,) = asked.question.views
    assert view.picture.shape == (1536, 2048, 3)
    assert view.box_xyxy.tolist() == [1280, 768, 1792, 1536]
    assert (view.picture[780, 1290] == RED).all()
    assert view.mask is None
    assert asked.question.crop_frame is None


def test_a_box_takes_a_part_of_the_opaque_part(tmp_path, video, red_and_green):
    frames = open_video(video)
    alpha = np.zeros((60, 80), np.uint8)
    alpha[10:20, 10:20] = alpha[40:50, 40:60] = 255
    path = tmp_path / "two.png"
    save(path, np.dstack([red_and_green, alpha]))
    (view,) = ask_by_pictures(frames, [path], None).question.views
    assert view.box_xyxy.tolist() == [10, 10, 60, 50]
    assert (view.mask == (alpha > 0)).all()
    box = (30, 30, 20, 20)
    (part,) = ask_by_pictures(frames, [path], None, box_xywh=box).question.views
    assert part.box_xyxy.tolist() == [40, 40, 50, 50]
    assert part.mask.sum() == 100
    with pytest.raises(ConfigError, match="--query-box shows only what is transparent in"):
        ask_by_pictures(frames, [path], None, box_xywh=(25, 10, 10, 10))
    with pytest.raises(ConfigError, match="belongs to exactly one picture, got 2"):
        ask_by_pictures(frames, [path, path], None, box_xywh=box)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,x,4", "--query-box needs four numbers X,Y,W,H in pixels, got '1,2,x,4'"),
        ("1,2,3", "--query-box needs four numbers"),
        ("1,2,NaN,4", "--query-box needs four numbers"),
        ("1,2,-1,4", "--query-box needs a positive width and height, got -1 x 4"),
        ("80,2,9,4", "red.png, which is 80 pixels wide and 60 high"),
    ],
)
def test_useless_boxes_of_pictures_are_refused(
    video, tmp_path, no_models, capsys, red_and_green, box, message
):
    picture = save(tmp_path / "red.png", red_and_green)
    assert localize.main([str(video), "--query", picture, f"--query-box={box}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("what", [["--query", "a.png", "b.png"], ["--at=1", "--box=1,1,5,5"]])
def test_the_box_of_a_picture_belongs_to_one_picture(video, no_models, capsys, what):
    with pytest.raises(SystemExit) as stop:
        localize.main([str(video), *what, "--query-box=1,2,3,4"])
    assert stop.value.code == 2
    assert "--query-box belongs to exactly one picture of --query" in capsys.readouterr().err


def test_a_video_after_the_pictures_is_missed_and_the_usage_says_where_it_stands(capsys):
    with pytest.raises(SystemExit) as stop:
        localize.main(["--query", "a.png", "kitchen.mp4"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "VIDEO (--query IMAGE ... | --at SECONDS --box X,Y,W,H)" in error
    assert "are required: video" in error


def test_one_damaged_picture_of_several_is_said_before_the_models_are_loaded(
    video, tmp_path, no_models, capsys, red_and_green
):
    good = save(tmp_path / "good.jpg", red_and_green)
    data = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) - 60])
    assert localize.main([str(video), "--query", good, str(tmp_path / "half.jpg")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "half.jpg is a damaged picture: image file is truncated" in error


def test_the_configuration_stands_beside_the_answer(ask, tmp_path):
    assert ask("--at", "0.8", "--box", box_text(4)) == 0
    written = json.loads((tmp_path / "out/config.json").read_text())
    assert written["preset"] == "tiny"
    assert written["command"].startswith("vq2d localize ")
    assert written["config"]["search"]["top_k"] == CONFIG.search.top_k
    assert (tmp_path / "out/answer.json").is_file()


def test_the_occurrence_that_is_pointed_at_is_no_answer(ask, capsys):
    assert ask("--at", "0.8", "--box", box_text(4)) == 0
    printed = capsys.readouterr().out
    assert "excluded: 0:00.6 to 0:01.4, the occurrence that --at and --box" in printed
    assert "last seen from 0:03.0 to 0:04.0" in printed
    assert "probably" not in printed


def test_a_weak_answer_is_called_a_guess(ask, tmp_path, capsys):
    assert ask("--at", "0.8", "--box", box_text(4), floor=1.0) == 3
    printed = capsys.readouterr().out
    assert "probably not seen again: the best candidate scores only " in printed
    assert "below the preset's floor of 1" in printed
    assert "best guess from 0:0" in printed
    assert "last seen" not in printed
    page = (tmp_path / "out/index.html").read_text()
    assert "probably not seen again" in page
    assert "kitchen.mp4, only a guess" in page

    cv2.imwrite(str(tmp_path / "object.png"), np.full((40, 40, 3), GREEN, np.uint8)[..., ::-1])
    assert ask("--query", str(tmp_path / "object.png"), floor=1.0) == 3
    assert "probably not in this video: the best candidate scores" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ('1,2,"a",4', "needs four numbers X,Y,W,H in pixels, got '1,2,\"a\",4'"),
        ("1,2,3", "needs four numbers"),
        ("1,2,NaN,4", "needs four numbers"),
        ("1,2,inf,4", "needs four numbers"),
        ("1,2,0,4", "needs a positive width and height, got 0 x 4"),
        ("96,2,9,4", "lies outside the video's picture, which is 96 pixels wide and 64 high"),
        ("3,-40,9,4", "lies outside the video's picture"),
        ("1e300,2,9,4", "lies outside the video's picture"),
    ],
)
def test_useless_boxes_are_refused_before_the_models_are_loaded(
    video, no_models, capsys, box, message
):
    assert localize.main([str(video), "--at", "1", f"--box={box}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("at", ["6.1", "-1", "nan", "inf"])
def test_times_outside_the_video_are_refused(video, no_models, capsys, at):
    assert localize.main([str(video), f"--at={at}", "--box", "1,1,5,5"]) == 2
    assert "lies outside the video, which lasts 6 s" in capsys.readouterr().err


@pytest.mark.parametrize("until", ["0", "nan", "-3"])
def test_an_empty_search_is_refused(video, no_models, capsys, until):
    assert localize.main([str(video), "--at=1", "--box=1,1,5,5", f"--until={until}"]) == 2
    assert "leaves no frame to search" in capsys.readouterr().err


def test_a_late_moment_means_the_last_frame(tmp_path):
    path = write_video(tmp_path / "short.mp4", [frame(i) for i in range(17)], 6)  # 2.83 s
    frames = open_video(path)
    assert frames.duration == pytest.approx(17 / 6)
    asked = [ask_by_moment(frames, at, (1, 1, 8, 8), None) for at in (2.5, 2.75, 2.83)]
    assert [a.question.crop_frame for a in asked] == [12, 13, 13]
    assert len(frames) == 14
    box = ask_by_moment(frames, 1, (-1e308, 60, 1.7e308, 1e308), None).question.views[0].box_xyxy
    assert box.tolist() == [0, 60, 96, 64]


@pytest.mark.parametrize("main", [localize.main, run_vq2d.main])
@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta"])
def test_unusable_devices_are_refused(video, no_models, capsys, main, device):
    what = [str(video), "--at=1", "--box=1,1,5,5"] if main is localize.main else []
    assert main([*what, "--device", device]) == 2
    assert (
        f"--device {device} cannot be used on this machine; it has cpu" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search.topk=3", "no setting is called 'search.topk'"),
        ('query.crop_factors=("a",)', "must be a tuple of 1 to 32 values, each a number, 1 <="),
        ("tokens.crop_factors=(1.5,)", "must be a tuple of 1 to 8 values, each a whole number"),
        ("input_size=wide", "input_size must be None or a whole number, 1 <="),
        ("search.top_k=True", "1 <= search.top_k <= 10000; got True (default 25)"),
        ("search.top_k=-5", "1 <= search.top_k <= 10000; got -5 (default 25)"),
        ("query.crop_factors=()", "a tuple of 1 to 32 values, each a number, 1 <= value <= 100"),
        ("refine.crop_factors=(0.0,)", "1 <= value <= 100; got 0.0 in it"),
        ("region_tracker.stride=0", "1 <= region_tracker.stride <= 1000; got 0 (default 1)"),
        ("search=3", "'search' is a group of settings; name one of them, such as search.nms_ratio"),
        ("grid_size.top_k=3", "no setting is called 'grid_size.top_k'; 'grid_size' is a value"),
        ("tokens.frame_stride=5", "tokens.chunk_frames must be a multiple of"),
    ],
)
def test_wrong_settings_are_usage_errors(video, capsys, change, message):
    what = [str(video), "--at=1", "--box=1,1,5,5", "--preset", "embedded", "--set", change]
    assert localize.main(what) == 2
    assert message in capsys.readouterr().err


def test_settings_of_every_form_are_taken():
    changes = [
        "query.crop_factors=(1, 2.5)",
        "refine.crop_factors=()",
        "tokens.crop_factors=(1,)",
        "input_size=None",
        "expand.join_gap=None",
        "expand.accept_ratio=1",
        "track.first=highest",
        "aggregate=True",
        "expand.judged_at=(144, 256)",
    ]
    config = vq2d_models.preset("embedded", changes)
    assert config.query.crop_factors == (1.0, 2.5)
    assert all(type(factor) is float for factor in config.query.crop_factors)
    assert config.refine.crop_factors == ()
    assert (config.input_size, config.expand.join_gap) == (None, None)
    assert type(config.expand.accept_ratio) is float
    assert config.aggregate
    assert config.expand.judged_at == (144, 256)
    assert vq2d_models.preset("paper", ["input_size=224"]).input_size == 224
    together = vq2d_models.preset("paper", ["tokens.frame_stride=5", "tokens.chunk_frames=50"])
    assert (together.tokens.frame_stride, together.tokens.chunk_frames) == (5, 50)


def test_a_stale_stage_is_one_sentence(video, capsys, monkeypatch):
    def stale(_):
        raise StaleStageError("tokens-1 was written with another configuration")

    monkeypatch.setattr(localize, "chosen_localizer", stale)
    assert localize.main([str(video), "--at=1", "--box=1,1,5,5"]) == 1
    assert capsys.readouterr().err == "tokens-1 was written with another configuration\n"


def test_the_main_job_says_which_splits_the_sample_has(capsys):
    assert run_vq2d.main(["--data", str(vq2d_models.SAMPLE), "--split", "train"]) == 2
    error = capsys.readouterr().err
    assert "the embedded sample has only the splits val and test" in error
    assert "ego4d " not in error
