"""Where memory runs out, batches are halved, and nothing is lost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ren_core.engine.batches import in_batches
from tests.clips import FramesInMemory, frame
from tests.tiny import TinyEncoder, tiny_ren
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.tokens import TokenConfig, clip_tokens


class Narrow(TinyEncoder):
    """Has memory for so many images."""

    def __init__(self, room):
        super().__init__()
        self.room, self.seen = room, []

    def encode(self, images):
        self.seen.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode(images)


def narrow_ren(room):
    ren = tiny_ren(aggregate=False)
    ren.encoder = Narrow(room)
    return ren


@pytest.mark.parametrize(("most", "sizes"), [(None, [9, 4, 2, 2, 2, 2, 1]), (3, [3, 1] + [1] * 8)])
def test_parts_follow_each_other_and_cover_all(most, sizes):
    model, tried = SimpleNamespace(max_batch=most), []
    room = 3 if most is None else 2

    def compute(part):
        tried.append(len(part))
        if len(part) > room:
            raise torch.OutOfMemoryError
        return part

    parts = in_batches(model, compute, range(9))
    assert [i for part in parts for i in part] == list(range(9))
    assert tried == sizes
    assert model.max_batch == sizes[-2]


def test_one_image_that_is_too_large_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        narrow_ren(0).encode([torch.zeros(3, 9, 9)] * 5)


def test_images_have_the_tokens_that_they_have_with_room():
    images = [torch.from_numpy(frame(i).copy()).permute(2, 0, 1) for i in range(7)]
    ren = narrow_ren(2)
    found, expected = ren.encode(images), narrow_ren(100).encode(images)
    assert ren.encoder.seen == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.tokens, other.tokens, rtol=0, atol=1e-4)
    assert len(ren.patch_features(images).features) == 7


@pytest.mark.parametrize("streams", [False, True])
def test_no_clip_is_lost(streams, tmp_path, monkeypatch):
    monkeypatch.setattr(TokenEncoder, "streams", property(lambda encoder: streams))
    encoder = TokenEncoder(narrow_ren(3), EncodeConfig())
    encoder.ren.max_batch = 20
    frames = FramesInMemory([frame(i) for i in range(9)])
    chunks = clip_tokens(frames, encoder, TokenConfig(), directory=tmp_path, num_frames=9)
    assert encoder.ren.encoder.seen[:3] == [20, 10, 5]
    assert encoder.ren.max_batch == 2
    assert (chunks[0].frame_idx == [i for i in range(9) for _ in range(5 * 64)]).all()
