"""What only a CUDA device can show; `tools/gpu_check.sh` runs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ren_core.aggregation import aggregate
from ren_core.encoders.catalog import build_encoder
from ren_core.engine.choice import choose_compute, round_products
from ren_core.engine.host import fetched, loaded, sent
from ren_core.merging import merge
from ren_core.model import REN
from ren_core.presets import RENConfig
from ren_core.region_encoder import RegionEncoder
from tests.clips import FramesInMemory, frame
from tests.sam2_cases import clip_of, light_model, official_logits, our_logits, write_jpegs
from tests.tiny import SPEC, TinyEncoder, tiny_ren
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.tokens import TokenConfig, clip_tokens
from vq2d.masking.sam2_video import Sam2Tracker

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("default"),  # kernels of other machines warn of other things
]


@pytest.fixture(autouse=True)
def _exact():
    """Products in float32 keep their bits, and a limit on memory ends with its test."""
    round_products(False)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def small_ren(device, dtype=torch.float32, **settings):
    """The true architecture of a small vision transformer with random weights."""
    encoder = build_encoder("dinov2-vits14", pretrained=False, input_size=224)
    torch.manual_seed(1)
    head = RegionEncoder(encoder.spec.dim)
    config = RENConfig(
        encoder="dinov2-vits14", head="random", prompting="grid", grid_size=16, **settings
    )
    return REN(encoder, head, config, device=device, dtype=dtype)


def pictures(count, size_hw=(120, 160)):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 8, 8), generator=generator)
    return list((F.interpolate(coarse, size_hw, mode="bicubic").clamp(0, 1) * 255).byte())


def test_a_gpu_rounds_by_default():
    assert choose_compute(None, "cuda", None, suits_openvino=False).dtype == torch.bfloat16
    assert torch.backends.cuda.matmul.allow_tf32


def test_float32_gives_the_tokens_of_the_processor():
    here, there = small_ren("cpu"), small_ren("cuda")
    expected, found = here.grid_tokens(pictures(3)), there.grid_tokens(pictures(3))
    assert F.cosine_similarity(expected, found.cpu(), dim=-1).min() > 0.9999


def test_bfloat16_gives_the_tokens_of_float32():
    exact = small_ren("cuda").grid_tokens(pictures(6))
    rounded = small_ren("cuda", torch.bfloat16).grid_tokens(pictures(6))
    alike = F.cosine_similarity(exact, rounded, dim=-1)
    assert rounded.dtype == torch.float32
    assert alike.mean() > 0.999
    assert alike.min() > 0.98
    assert (exact != rounded).any()


def test_images_travel_from_pinned_memory_and_back():
    picture = frame(3)
    pixels = loaded(picture, torch.device("cuda"))
    assert pixels.is_pinned()
    there = sent(pixels, torch.device("cuda"))
    taken = fetched([there, there.float()])()
    assert taken[0].device.type == "cpu"
    assert (taken[0].permute(1, 2, 0).numpy() == picture).all()
    assert torch.equal(taken[0].float(), taken[1])


@pytest.mark.parametrize("is_merged", [False, True])
def test_stage_1_waits_for_nothing_but_its_results(is_merged, tmp_path):
    """Any call that waits for the GPU, but for the event of a batch's results, is an error here."""
    ren = small_ren("cuda", torch.bfloat16, aggregate=is_merged)
    encoder = TokenEncoder(ren, EncodeConfig())
    assert encoder.streams
    frames = FramesInMemory([frame(i) for i in range(12)])
    config = TokenConfig(chunk_frames=4, batch_crops=10)
    warm = tmp_path / "warm"
    clip_tokens(frames, encoder, config, directory=warm, num_frames=12)  # makes what is made once
    try:
        torch.cuda.set_sync_debug_mode("error")
        chunks = clip_tokens(frames, encoder, config, directory=tmp_path / "x", num_frames=12)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for chunk in chunks:
        assert chunk.path.read_bytes() == (warm / chunk.path.name).read_bytes()


def test_the_mode_that_stage_1_is_tested_in_notices_a_wait():
    number = torch.ones(1, device="cuda")
    try:
        torch.cuda.set_sync_debug_mode("error")
        with pytest.raises(RuntimeError, match="synchroniz"):
            number.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_streamed_tokens_are_those_of_the_plain_way(tmp_path):
    ren = small_ren("cuda", aggregate=True, merge_similarity=0.9, min_group=2)
    encoder = TokenEncoder(ren, EncodeConfig())
    images = [frame(i) for i in range(5)]
    plain, streamed = encoder.regions(images), encoder.start(encoder.load(images))()
    for one, other in zip(plain, streamed, strict=True):
        assert (one.points_xy == other.points_xy).all()
        assert F.cosine_similarity(one.vectors.cpu(), other.vectors, dim=-1).min() > 0.9999


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.99])
def test_groups_are_those_of_the_processor(threshold):
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn((3, 200, 4), generator=generator)
    tokens[1] = tokens[1, :1]  # all alike
    angles = torch.deg2rad(torch.arange(200.0))[torch.randperm(200, generator=generator)]
    tokens[2] = torch.stack([angles.cos(), angles.sin(), 0 * angles, 0 * angles], dim=1)  # a chain
    points = torch.randint(0, 500, (200, 2), generator=generator)
    found = merge(tokens.cuda(), points.cuda(), threshold, 3)
    for i, own in enumerate(tokens):
        expected = aggregate(own, points, threshold, 3)
        alone = aggregate(own.cuda(), points.cuda(), threshold, 3)
        count = len(expected.tokens)
        assert found.group_index[i].tolist() == expected.group_index.tolist()
        assert alone.group_index.tolist() == expected.group_index.tolist()
        assert found.representatives[i, :count].tolist() == expected.representatives.tolist()
        torch.testing.assert_close(found.tokens[i, :count].cpu(), expected.tokens)


def test_a_batch_that_has_no_room_is_halved(tmp_path):
    ren = small_ren("cuda", aggregate=False)
    ren.max_batch = None
    images = pictures(64)
    ren.grid_tokens(images[:1])
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ren.grid_tokens(images[:4])
    four = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 3 * four
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)
    found = ren.encode(images)
    assert len(found) == 64
    assert ren.max_batch is not None
    assert ren.max_batch < 64
    assert all(torch.isfinite(regions.tokens).all() for regions in found)


@pytest.mark.parametrize("reverse", [False, True])
def test_sam_2_follows_as_the_official_tracker_does(reverse, tmp_path):
    model, folder = light_model("cuda"), write_jpegs(tmp_path)
    theirs = official_logits(model, folder, 30, frames=20, reverse=reverse)
    stop = 9 if reverse else 51
    ours = our_logits(Sam2Tracker(model), clip_of(folder, 60), 30, stop)
    assert list(ours) == list(theirs)
    for number, logits in ours.items():
        assert logits.is_cuda
        torch.testing.assert_close(logits, theirs[number].to(logits), rtol=1e-3, atol=1e-3)


def test_sam_2_in_bfloat16_stays_near():
    exact = light_model("cuda")
    rounded = replace(exact, dtype=torch.bfloat16)
    clip = FramesInMemory([frame(i) for i in range(6)])
    one, other = (our_logits(Sam2Tracker(m), clip, 0, 4) for m in (exact, rounded))
    worst = max(float((one[i] - other[i]).abs().max()) for i in one)
    assert 0 < worst < 0.5


@pytest.mark.timeout(280)
def test_compiled_networks_give_nearly_the_same():
    plain = tiny_ren(aggregate=False).grid_tokens(pictures(4))
    ren = REN(
        TinyEncoder(),
        tiny_ren().head,
        replace(tiny_ren().config, aggregate=False),
        device="cuda",
        compiled=True,
    )
    found = ren.grid_tokens(pictures(4)).cpu()
    assert found.shape[2] == SPEC.dim
    assert F.cosine_similarity(plain, found, dim=-1).min() > 0.999
