"""The SAM 2 tracker with seeded random weights: equal to the official one, in constant memory.

Most tests run at 64 instead of 1024 px and replace the image trunk, which has no memory, by
pooling: what they test, the memory and the decoder, is the true one.
"""

import gc
import resource
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from ren_core.errors import ConfigError
from ren_core.sam2.model import Sam2Model
from tests.sam2_cases import (
    BOX,
    SIZE_HW,
    Clip,
    clip_of,
    light_model,
    moving_square,
    official_logits,
    our_logits,
    same,
    write_jpegs,
)
from vq2d.masking.sam2_video import Sam2Tracker

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def light():
    return light_model()


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    return write_jpegs(tmp_path_factory.mktemp("jpegs"))


# The tracker: equal to the official predictor.


@pytest.mark.filterwarnings("ignore:cannot import name '_C'")
def test_forward_tracking_is_bit_identical_to_the_official_predictor(light, jpegs):
    theirs = official_logits(light, jpegs, 22)
    clip = clip_of(jpegs, 60)
    assert same(our_logits(Sam2Tracker(light), clip, 22, 60), theirs)
    # 15 frames are the fewest that suffice.
    shorter = our_logits(Sam2Tracker(light, keep_frames=14), clip, 22, 39)
    assert not same(shorter, {i: theirs[i] for i in shorter})


@pytest.mark.filterwarnings("ignore:cannot import name '_C'")
def test_backward_tracking_is_bit_identical_to_a_fresh_official_reverse(light, jpegs, tmp_path):
    ours = our_logits(Sam2Tracker(light), clip_of(jpegs, 60), 37, -1)
    assert same(ours, official_logits(light, jpegs, 37, reverse=True))
    # The release reverses the clip instead: the same again.
    for frame_idx, path in enumerate(sorted(jpegs.iterdir(), reverse=True)):
        (tmp_path / f"{frame_idx:03d}.jpg").symlink_to(path)
    theirs = official_logits(light, tmp_path, 59 - 37, frames=20)
    assert same({i: ours[i] for i in range(37, 16, -1)}, {59 - i: v for i, v in theirs.items()})


@pytest.mark.filterwarnings("ignore:cannot import name '_C'")
def test_a_clip_shorter_than_the_memory_is_bit_identical_too(light, jpegs, tmp_path):
    for path in sorted(jpegs.iterdir())[:9]:
        (tmp_path / path.name).symlink_to(path)
    ours = our_logits(Sam2Tracker(light), clip_of(jpegs, 9), 2, 7)
    assert same(ours, official_logits(light, tmp_path, 2, frames=4))


@pytest.mark.filterwarnings("ignore:cannot import name '_C'")
def test_tracking_with_the_true_image_trunk_is_bit_identical(jpegs):
    model = Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128)
    theirs = official_logits(model, jpegs, 3, frames=5)
    assert same(our_logits(Sam2Tracker(model), clip_of(jpegs, 60), 3, 9), theirs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:cannot import name '_C'")
def test_tracking_at_full_size_is_bit_identical(jpegs):
    full = Sam2Model.random("sam2.1_hiera_t", 0, device="cpu")
    theirs = official_logits(full, jpegs, 40, frames=18)
    assert same(our_logits(Sam2Tracker(full), clip_of(jpegs, 60), 40, 59), theirs)


def test_directions_do_not_touch_each_other(light, jpegs):
    tracker, clip = Sam2Tracker(light), clip_of(jpegs, 60)
    alone = our_logits(tracker, clip, 20, 14)
    forward = tracker.propagate(clip, 20, BOX, 60)
    for _ in range(4):
        next(forward)
    assert same(our_logits(tracker, clip, 20, 14), alone)
    assert len(list(forward)) == 36


# The tracker: memory, ends and prompts.


def live_tensor_bytes():
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, nn.Parameter)]
    return sum(t.untyped_storage().nbytes() for t in tensors)


@pytest.mark.parametrize("length", [150, pytest.param(600, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_clip(length):
    read, alive = [], weakref.WeakSet()

    class Frame(np.ndarray):
        """An array that can be told from others."""

        __hash__ = object.__hash__

    def make(frame_idx):
        frame = moving_square(frame_idx).view(Frame)
        alive.add(frame)
        read.append(frame_idx)
        return frame

    # One of the four attention layers is enough, and faster: the layers hold no state.
    small = light_model()
    attention = small.network.memory_attention
    attention.layers = attention.layers[:1]
    sizes, peaks = {}, {}
    steps = Sam2Tracker(small).propagate(Clip(length, make), 0, BOX, length)
    for found in steps:
        assert len(alive) <= 1
        if found.frame_idx in (50, length - 1):
            sizes[found.frame_idx] = live_tensor_bytes()
            peaks[found.frame_idx] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read == list(range(length))
    assert sizes[length - 1] == sizes[50]
    assert peaks[length - 1] - peaks[50] < 16 * 1024  # KiB


def test_a_track_ends_at_the_first_empty_mask(jpegs):
    fading = light_model()
    bias = fading.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data
    read = []

    def make(frame_idx):
        read.append(frame_idx)
        bias.fill_(-50.0 if frame_idx >= 9 else 5.0)
        return moving_square(frame_idx)

    steps = list(Sam2Tracker(fading).track(Clip(60, make), 5, BOX, 25))
    assert [s.frame_idx for s in steps] == [5, 6, 7, 8]
    assert read == [5, 6, 7, 8, 9]
    assert all(s.score > 0.9 for s in steps)
    (gone,) = Sam2Tracker(fading).propagate(Clip(60, make), 9, BOX, 10)
    assert gone.presence < 1e-6
    assert not list(Sam2Tracker(fading).track(Clip(60, make), 9, BOX, 12))


def test_track_boxes_are_half_open_and_inside_the_frame(light, jpegs):
    clip = clip_of(jpegs, 60)
    (full,) = Sam2Tracker(light, mask_threshold=-1e6).track(clip, 0, BOX, 1)
    assert full.box_xyxy.tolist() == [0, 0, SIZE_HW[1], SIZE_HW[0]]
    assert 0 < full.score < 1
    steps = list(Sam2Tracker(light).track(clip, 3, BOX, -1))
    assert [s.frame_idx for s in steps] == [3, 2, 1, 0]


def test_boxes_at_and_beyond_the_border(light, jpegs):
    tracker, clip = Sam2Tracker(light), clip_of(jpegs, 60)

    def first(*box):
        return next(tracker.propagate(clip, 4, np.array(box, np.float32), 5)).logits

    assert torch.equal(first(100, 50, 300, 90), first(100, 50, 128, 72))
    assert not list(tracker.propagate(clip, 4, np.array([130, 0, 140, 9], np.float32), 8))
    assert not list(tracker.propagate(clip, 4, BOX, 4))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (60, 3), (0, 61), (5, -2)])
def test_frame_numbers_outside_the_clip_are_refused(light, jpegs, start, stop):
    with pytest.raises(ConfigError, match="frame must be in"):
        next(Sam2Tracker(light).propagate(clip_of(jpegs, 60), start, BOX, stop))


def test_keep_frames_must_be_positive(light):
    with pytest.raises(ConfigError, match="keep_frames must be at least 1, got 0"):
        Sam2Tracker(light, keep_frames=0)


def test_inference_mode_does_not_leak_out_of_a_track(light, jpegs):
    steps = Sam2Tracker(light).propagate(clip_of(jpegs, 60), 0, BOX, 5)
    next(steps)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_bfloat16_runs_and_differs_little(light, jpegs):
    half = Sam2Model(light.name, light.network, torch.bfloat16)
    clip = clip_of(jpegs, 60)
    exact, rough = (our_logits(Sam2Tracker(m), clip, 0, 3) for m in (light, half))
    worst = max(float((exact[i] - rough[i]).abs().max()) for i in exact)
    assert 0 < worst < 0.1
    assert rough[0].dtype == torch.float32
