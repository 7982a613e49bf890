"""No value of the main job can hang a run: each is refused, or a run with it comes to its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ren_core.configuration import changed
from ren_core.errors import ConfigError
from ren_core.mask_model import MaskModel
from tests.clips import RED, FramesInMemory, frame, place
from tests.configurations import accepted_values, ends_of, keys_of, refused
from tests.job import CONFIG
from tests.mask_cases import tiny_head
from tests.tiny import SPEC, TinyEncoder, tiny_ren
from vq2d.localize import build
from vq2d.localize.presets import VQ2DConfig, preset
from vq2d.localize.tokens import clip_tokens
from vq2d.types import ObjectView, Question

FRAMES = FramesInMemory([frame(i) for i in range(21)])
QUICK = changed(
    replace(CONFIG, masking="region"),
    {
        "aggregate": True,
        "tokens.join.enabled": True,
        "refine.floor": -1.0,
        "search.floor": -1.0,
        "search.top_k": 2,
        "refine.crop_factors": (1.5,),
        "region.zooms": (0.5,),
        "expand.judged_at": None,
        "expand.sharpness": 0.0,
        "expand.max_frames": 1,
    },
)
ACCEPTED = list(accepted_values(QUICK))
# which input sizes can be, the encoders know
ENDS = [(key, value) for key, value in ends_of(QUICK) if key != "input_size"]


@pytest.fixture
def localized(monkeypatch, tmp_path):
    """Runs the stages of a configuration on a tiny clip with tiny models."""

    def tiny(name, *, device, dtype, engine, compiled, input_size, **settings):
        return tiny_ren(**settings)

    def red_is_salient(images, side):
        return [((i[..., 0] > 150) & (i[..., 1] < 90)).astype(np.float32) for i in images]

    monkeypatch.setattr(build.REN, "from_pretrained", tiny)
    monkeypatch.setattr(build, "Saliency", lambda engine: red_is_salient)
    encoder = TinyEncoder()
    masks = MaskModel(encoder, tiny_head(encoder.level_widths))
    monkeypatch.setattr(build.MaskModel, "from_pretrained", lambda head, compute: masks)

    def run(config):
        localizer = build.build_localizer(config)
        chunks = clip_tokens(
            FRAMES,
            localizer.models.encoder,
            config.tokens,
            directory=tmp_path,
            num_frames=len(FRAMES),
        )
        question = Question((ObjectView(FRAMES[17], place(RED, 17)),), len(FRAMES), 17)
        return localizer.localize(question, FRAMES, chunks)

    return run


def named(values):
    return pytest.mark.parametrize(
        ("key", "value"), values, ids=[f"{key}={value}" for key, value in values]
    )


def with_value(key, value, also=None):
    """The quick configuration with a value, and with the segmenter that reads it."""
    base = replace(QUICK, masking="head") if key.startswith("masks.") else QUICK
    return changed(base, {key: value, **(also or {})})


def check_run(found):
    assert np.isfinite(found.scores.similarity).all()
    assert found.track is None or np.isfinite(found.track.boxes_xyxy).all()


def test_the_run_passes_all_stages(localized):
    found = localized(QUICK)
    check_run(found)
    assert found.track is not None
    assert len(found.candidates) > 1
    assert found.rounds == 2


@named(ACCEPTED)
def test_an_accepted_value_runs_to_the_end(localized, key, value):
    check_run(localized(with_value(key, value)))


@named(ENDS)
def test_the_ends_of_a_range_run_to_the_end(localized, key, value):
    with_it = {
        "tokens.frame_stride": {"tokens.chunk_frames": 1000},
        "tokens.crop_factors": {"tokens.frame_stride": 8},  # 256 windows of a frame take their time
    }
    config = with_value(key, value, with_it.get(key))
    if key == "grid_size" and value > SPEC.input_size:
        with pytest.raises(ConfigError, match=f"grid_size must be in 1..{SPEC.input_size}"):
            localized(config)
    else:
        check_run(localized(config))


@pytest.mark.parametrize("key", [key for key, _ in keys_of(QUICK)])
def test_every_setting_refuses_a_huge_value(key):
    message = refused(QUICK, key, 1e9)
    assert message.startswith(f"{key} must be ")
    assert "got 1000000000.0" in message


def test_the_groups_are_called_as_their_fields():
    for key, _ in keys_of(VQ2DConfig()):
        assert refused(VQ2DConfig(), key, -100_000).startswith(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("region_tracker.stride", 0),  # never came to its end
        ("query.crop_factors", ()),
        ("refine.crop_factors", (0.0,)),
        ("tokens.crop_factors", ()),
        ("search.top_k", -5),
        ("region_tracker.temperature", 0),
        ("region.outline_size", 1),
    ],
)
def test_what_once_hung_or_crashed_is_refused(key, value):
    assert refused(VQ2DConfig(), key, value).startswith(f"{key} must be ")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "embedded",
            "search.floor=1.5",
            "search.floor must be a number, -1 <= search.floor <= 1; got 1.5 (default 0.7)",
        ),
        (
            "paper",
            "masking=magic",
            "masking must be 'sam2' or 'region' or 'head'; got 'magic' (default 'sam2')",
        ),
        (
            "paper",
            "expand.judged_at=(288,)",
            "expand.judged_at must be None or a tuple of 2 values, each a whole number, "
            "32 <= value <= 4096; got (288,) (default (288, 512))",
        ),
        ("paper", "aggregate=1", "aggregate must be True or False; got 1 (default False)"),
        (
            "paper",
            "tokens.frame_stride=3",
            "tokens.chunk_frames must be a multiple of tokens.frame_stride, got 64 and 3",
        ),
    ],
)
def test_a_wrong_change_is_one_sentence(name, change, message):
    with pytest.raises(ConfigError) as err:
        preset(name, [change])
    assert str(err.value) == message
