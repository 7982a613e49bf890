"""The SAM 2 segmenter: the true architecture, seeded random weights, 128 px."""

import numpy as np
import pytest
import torch
from torch import nn

from ren_core.errors import ShapeError
from ren_core.geometry import largest_component
from ren_core.sam2.model import Sam2Model
from tests.patterns import noise_with_square
from vq2d.masking.base import Appearance, Place
from vq2d.masking.sam2 import Sam2Segmenter
from vq2d.masking.sam2_video import Sam2Tracker

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE_HW = (72, 128)
BOX = np.array([30, 16, 74, 50], np.float32)


IMAGE = noise_with_square(7)


@pytest.fixture(scope="module")
def model():
    return Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128)


def look(images, masks):
    """Mean colours of the masked parts, as unit vectors."""
    means = [image[mask].mean(axis=0) - 60.0 for image, mask in zip(images, masks, strict=True)]
    return nn.functional.normalize(torch.from_numpy(np.stack(means)), dim=1)


def offers_of(segmenter):
    """The three masks of a point, straight from the official predictor."""
    predictor = segmenter.model.image_predictor(segmenter._predictor.mask_threshold)
    predictor.set_image(IMAGE)
    masks, trusts, _ = predictor.predict(np.array([[40.0, 30.0]]), np.array([1]))
    return masks > 0, trusts


def test_the_most_similar_of_three_masks_is_chosen(model):
    plain = Sam2Segmenter(model, look)
    pieces = [largest_component(mask) for mask in offers_of(plain)[0]]
    assert len({piece.tobytes() for piece in pieces}) == 3
    codes = dict(zip((p.tobytes() for p in pieces), torch.eye(3), strict=True))
    segmenter = Sam2Segmenter(
        model, lambda _, masks: torch.stack([codes[m.tobytes()] for m in masks])
    )
    for wanted, piece in enumerate(pieces):
        rows = torch.stack([torch.full((3,), -0.5), torch.eye(3)[wanted]])
        found = segmenter.from_point(IMAGE, (40.0, 30.0), appearance=Appearance(rows))
        assert np.array_equal(found.mask, piece)


def test_without_appearance_the_most_trusted_mask_is_chosen(model):
    segmenter = Sam2Segmenter(model, look)
    masks, trusts = offers_of(segmenter)
    found = segmenter.from_point(IMAGE, (40.0, 30.0))
    assert found.score == pytest.approx(trusts.max())
    assert np.array_equal(found.mask, largest_component(masks[trusts.argmax()]))
    assert found.mask.shape == SIZE_HW
    assert segmenter.appearance_of([IMAGE], [found.mask]).vectors.shape == (1, 3)


def test_thresholds_give_empty_and_full_masks(model):
    empty = Sam2Segmenter(model, look, mask_threshold=1e6)
    assert empty.from_point(IMAGE, (40.0, 30.0), appearance=Appearance(torch.eye(3))) is None
    assert empty.from_box(IMAGE, BOX) is None
    full = Sam2Segmenter(model, look, mask_threshold=-1e6).from_box(IMAGE, BOX)
    assert full.box_xyxy.tolist() == [0, 0, SIZE_HW[1], SIZE_HW[0]]


def test_a_box_gives_one_mask_of_the_blurred_image(model):
    segmenter = Sam2Segmenter(model, look)
    found = segmenter.from_box(IMAGE, BOX)
    predictor = model.image_predictor(0.0)
    weights = np.array([1, 2, 1]) / 4
    padded = np.pad(IMAGE.astype(float), ((1, 1), (1, 1), (0, 0)), mode="reflect")
    rows = sum(w * padded[i : i + SIZE_HW[0]] for i, w in enumerate(weights))
    blurred = sum(w * rows[:, i : i + SIZE_HW[1]] for i, w in enumerate(weights))
    predictor.set_image(np.floor(blurred + 0.5).astype(np.uint8))
    masks, trusts, _ = predictor.predict(box=BOX, multimask_output=False)
    assert found.score == pytest.approx(trusts[0], abs=1e-5)
    assert (found.mask != largest_component(masks[0] > 0)).mean() < 0.01


def test_a_box_is_cut_to_the_image(model):
    segmenter = Sam2Segmenter(model, look)
    inside = segmenter.from_box(IMAGE, np.array([100, 50, 128, 72], np.float32))
    beyond = segmenter.from_box(IMAGE, np.array([100, 50, 300, 90], np.float32))
    assert np.array_equal(inside.mask, beyond.mask)
    assert segmenter.from_box(IMAGE, np.array([-9, 0, 0, 20], np.float32)) is None


def test_the_embedding_of_the_same_content_is_reused(model, monkeypatch):
    segmenter = Sam2Segmenter(model, look)
    encoded = []
    encode = segmenter._predictor.set_image
    monkeypatch.setattr(
        segmenter._predictor, "set_image", lambda image: (encoded.append(1), encode(image))
    )
    first = segmenter.from_point(IMAGE, (40.0, 30.0))
    segmenter.from_point(IMAGE.copy(), (90.0, 60.0))
    assert len(encoded) == 1
    other = noise_with_square(8)
    segmenter.from_point(other, (40.0, 30.0))
    assert len(encoded) == 2
    again = segmenter.from_point(IMAGE, (40.0, 30.0))
    assert len(encoded) == 3
    assert np.array_equal(first.mask, again.mask)


def test_points_of_one_frame_share_its_features_and_one_call_of_the_decoder(model, monkeypatch):
    """Three frames, two of them equal in content; all masks are looked at together."""
    looked = []
    segmenter = Sam2Segmenter(model, lambda *seen: looked.append(len(seen[0])) or look(*seen))
    other, points = noise_with_square(8), [(40.0, 30.0), (90.0, 60.0), (12.0, 9.0), (41.0, 33.0)]
    places = [Place(i, p) for i, p in zip((IMAGE, other, IMAGE.copy(), IMAGE), points, strict=True)]
    appearance = Appearance(torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64))
    alone = [segmenter.from_point(p.image, p.point_xy, appearance=appearance) for p in places]
    looked.clear()
    encoded, decoded = [], []
    network = segmenter.model.network
    encode = network.forward_image
    monkeypatch.setattr(network, "forward_image", lambda x: encoded.append(1) or encode(x))
    watch = network.sam_prompt_encoder.register_forward_pre_hook(
        lambda _, args, asked: decoded.append(len(asked["points"][0])), with_kwargs=True
    )
    segmenter._embedded = b""
    found = segmenter.from_points(places, appearance=appearance)
    watch.remove()
    assert (len(encoded), decoded) == (2, [3, 1])
    assert len(looked) == 1
    for one, together in zip(alone, found, strict=True):
        assert (one.mask != together.mask).mean() < 1e-3
        assert one.score == pytest.approx(together.score, abs=1e-4)
    assert segmenter.from_points([]) == []


def test_tall_images_and_strided_views_are_segmented(model):
    tall = np.rot90(noise_with_square(3))
    assert not tall.flags.c_contiguous
    found = Sam2Segmenter(model, look).from_point(tall, (30.0, 80.0))
    assert found.mask.shape == (128, 72)


@pytest.mark.parametrize(
    "image", [IMAGE.astype(np.float32), IMAGE[..., 0], np.zeros((9, 9, 4), np.uint8)]
)
def test_only_rgb_bytes_are_taken(model, image):
    segmenter = Sam2Segmenter(model, look)
    with pytest.raises(ShapeError, match="uint8 RGB"):
        segmenter.from_point(image, (4.0, 4.0))
    with pytest.raises(ShapeError, match="uint8 RGB"):
        segmenter.from_box(image, BOX)


@pytest.mark.parametrize("vectors", [torch.zeros(0, 3), torch.zeros(3)])
def test_an_appearance_must_have_rows(vectors):
    with pytest.raises(ShapeError, match=r"appearance must be \(V, D\)"):
        Appearance(vectors)


class Pair(list):
    """The smallest FrameSource."""

    size_hw = SIZE_HW


def test_segmenter_and_tracker_share_one_set_of_weights(model):
    segmenter, tracker = Sam2Segmenter(model, look), Sam2Tracker(model)
    assert segmenter._predictor.model is tracker.model.network
    before = segmenter.from_point(IMAGE, (40.0, 30.0))
    assert len(list(tracker.propagate(Pair([IMAGE, IMAGE]), 1, BOX, -1))) == 2
    after = Sam2Segmenter(model, look).from_point(IMAGE, (40.0, 30.0))
    assert np.array_equal(before.mask, after.mask)
