"""Caches, batches, trainer, ablations and the command line on a tiny encoder."""

import csv
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from pipelines import train_ren
from ren_core.checkpoints import load_region_encoder, read_config
from ren_core.encoders.base import EncoderSpec, PatchEncoder
from ren_core.errors import ConfigError, DataError, StaleStageError
from ren_core.region_encoder import RegionEncoder
from ren_core.training import run as run_module
from ren_core.training.batches import CachedBatches, CachedSource
from ren_core.training.config import LossConfig, TrainConfig
from ren_core.training.curves import plot_curves, write_csv
from ren_core.training.feature_cache import CacheConfig, build_cache
from ren_core.training.learned_queries import LearnedQueryObjective, build_objective
from ren_core.training.objective import matching_accuracy
from ren_core.training.online import OnlineBatches, OnlineConfig, OnlineSource
from ren_core.training.recipes import RECIPES, recipe
from ren_core.training.samples import PromptSampling
from ren_core.training.sources import label_folder_source, scene_source
from ren_core.training.start import build_head, start_local
from ren_core.training.trainer import Worker, train, validate
from ren_core.training.views import ViewConfig

CPU = Worker(torch.device("cpu"))
SIZE, GRID, DIM = 32, 8, 16
CONFIG = TrainConfig(
    steps=6,
    warmup=2,
    pairs=2,
    precision="fp32",
    num_heads=2,
    num_layers=2,
    sampling=PromptSampling(count=24),
    validate_every=3,
    checkpoint_every=2,
)


@pytest.fixture(autouse=True)
def _few_threads():
    torch.set_num_threads(1)  # tiny matrices: a second thread only waits


class TinyEncoder(PatchEncoder):
    """Patch means, lifted to 16 fixed dimensions."""

    def __init__(self):
        super().__init__(EncoderSpec(name="tiny", input_size=SIZE, patch_size=4, dim=DIM))
        self.lift = nn.Linear(3, DIM, bias=False)
        with torch.no_grad():
            self.lift.weight.copy_(torch.randn(DIM, 3, generator=torch.Generator().manual_seed(0)))
        self.freeze()

    def encode(self, images):
        means = F.avg_pool2d(images, 4).movedim(1, -1)
        return torch.tanh(self.lift(means)).movedim(-1, 1).contiguous()


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Six pictures with four coloured quarters each, and a scene of four frames."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    quarters = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((24, 24), int))
    for folder in ("images", "labels", "scenes/room"):
        (root / folder).mkdir(parents=True)
    for index in range(6):
        colours = rng.integers(0, 256, (5, 3)).astype(np.uint8)
        cv2.imwrite(str(root / f"images/{index}.png"), colours[quarters])
        cv2.imwrite(str(root / f"labels/{index}.png"), quarters.astype(np.uint8))
        if index < 4:
            cv2.imwrite(str(root / f"scenes/room/{index:05d}.jpg"), colours[quarters])
            cv2.imwrite(str(root / f"scenes/room/{index:05d}.png"), quarters.astype(np.uint8))
    (root / "scenes/room/truth.json").write_text("{}")
    return root


def _pictures(data):
    return label_folder_source(data / "images", data / "labels")


def _cache(data, out, views=3, **options):
    config = CacheConfig(
        source="pictures",
        encoder="tiny",
        views=ViewConfig(size=SIZE, rotation_deg=10),
        views_per_image=views,
        **options,
    )
    return build_cache(_pictures(data), TinyEncoder(), config, out=out, dtype=torch.float32)


@pytest.fixture
def batches(data, tmp_path):
    source = CachedSource(cache=_cache(data, tmp_path / "cache"), held_out_every=6)
    return (
        CachedBatches([source], 2, CONFIG.sampling, 0),
        CachedBatches([source], 1, CONFIG.sampling, 0, held_out=True),
    )


def _objective(config=CONFIG):
    return build_objective(build_head(DIM, GRID, config), config)


def _weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_cache_resumes_and_its_views_depend_on_their_number_only(data, tmp_path):
    cache = _cache(data, tmp_path / "a")
    other = _cache(data, tmp_path / "b")
    files = sorted(cache.directory.glob("*.safetensors"))
    assert len(files) == 6
    times = [file.stat().st_mtime_ns for file in files[:3]]
    for file in files[3:]:
        file.unlink()
    again = _cache(data, tmp_path / "a")
    assert [file.stat().st_mtime_ns for file in files[:3]] == times
    for index in range(6):
        a, b = again.read(index, 2), other.read(index, 2)
        assert torch.equal(a.features, b.features)
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.names, b.names)
    assert not torch.equal(again.read(0, 0).features, again.read(0, 1).features)
    assert _cache(data, tmp_path / "a", seed=1).directory != cache.directory


def test_plain_first_view_and_half_precision(data, tmp_path):
    cache = _cache(data, tmp_path, plain_first=True, views=1)
    picture = _pictures(data).read(0).image
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    expected = TinyEncoder()(image).features[0]
    assert torch.allclose(cache.read(0, 0).features.float(), expected, atol=0.1)
    config = CacheConfig(source="x", encoder="tiny", views=ViewConfig(size=SIZE))
    half = build_cache(_pictures(data), TinyEncoder(), config, out=tmp_path, dtype=torch.bfloat16)
    assert half.directory != cache.directory
    assert half.read(0, 0).features.dtype == torch.float16
    with pytest.raises(ConfigError, match="views_per_image"):
        CacheConfig(source="x", encoder="tiny", views=ViewConfig(size=SIZE), views_per_image=0)


def test_batches_depend_on_their_number_and_hold_out_groups(batches):
    training, validation = batches
    a, b, c = training.batch(3), training.batch(3), training.batch(4)
    assert torch.equal(a.features, b.features)
    assert torch.equal(a.points_yx, b.points_yx)
    assert not torch.equal(a.points_yx, c.points_yx)
    seen = {i for (groups,) in [training._groups] for group in groups for i in group}
    kept = {i for (groups,) in [validation._groups] for group in groups for i in group}
    assert seen | kept == set(range(6))
    assert kept == {5}


def test_pairs_of_a_video_are_two_frames(data, tmp_path):
    views = ViewConfig(size=SIZE, min_crop=1)
    config = CacheConfig(source="s", encoder="tiny", views=views, views_per_image=1)
    cache = build_cache(scene_source(data / "scenes"), TinyEncoder(), config, out=tmp_path)
    source = CachedSource(cache=cache, max_gap=1, held_out_every=2)
    with pytest.raises(DataError, match="validation"):
        CachedBatches([source], 1, CONFIG.sampling, 0, held_out=True)
    batch = CachedBatches([source], 1, CONFIG.sampling, 0).batch(0)
    assert not torch.equal(batch.features[0], batch.features[1])
    assert set(batch.region_ids[0].tolist()) & set(batch.region_ids[1].tolist()) - {-1}
    same_frame = replace(source, cross_frame=False)
    with pytest.raises(ConfigError, match="at least 2 views"):
        CachedBatches([same_frame], 1, CONFIG.sampling, 0)
    lonely = CachedSource(cache=_cache(data, tmp_path / "one", views=1), held_out_every=6)
    with pytest.raises(ConfigError, match="at least 2 views"):
        CachedBatches([lonely], 1, CONFIG.sampling, 0)


def test_online_batches_equal_with_and_without_workers(data):
    sources = [OnlineSource(regions=_pictures(data), held_out_every=6)]
    config = OnlineConfig(views=ViewConfig(size=SIZE), pairs=2, sampling=CONFIG.sampling, seed=1)
    here = OnlineBatches(sources, TinyEncoder(), config)
    ahead = OnlineBatches(sources, TinyEncoder(), replace(config, workers=1, stride=2))
    for number in (1, 3, 5, 2):  # the last one is out of order
        a, b = here.batch(number), ahead.batch(number)
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.region_ids, b.region_ids)
    first_epoch = [here.raw[n][i].group for n in (0, 1) for i in (0, 2)] + [here.raw[2][0].group]
    assert sorted(first_epoch) == [0, 1, 2, 3, 4]
    held = OnlineBatches(sources, TinyEncoder(), replace(config, held_out=True))
    assert {view.group for view in held.raw[0]} == {5}


class Repeated:
    """The same batch in every step."""

    def __init__(self, batch):
        self.same = batch

    def batch(self, number):
        return self.same


def _least_info_nce(region_ids):
    """Mean of log k: the shares of k positives add up to 1 at most, so that 1 / k each is best."""
    ids = region_ids[region_ids >= 0]
    positives = (ids[:, None] == ids[None, :]).sum(dim=1) - 1
    return float(positives[positives > 0].double().log().mean())


def test_five_pictures_are_learned_by_heart(batches, tmp_path):
    config = replace(
        CONFIG,
        steps=350,
        warmup=10,
        learning_rate=1e-2,
        dropout=0.0,
        num_heads=4,
        validate_every=350,
        checkpoint_every=350,
    )
    batch = replace(batches[0], pairs=5).batch(0)
    objective = _objective(config)
    before = validate(objective, [batch], config)
    rows = train(objective, Repeated(batch), [batch], config, out=tmp_path / "run", worker=CPU)
    after = validate(objective, [batch], config)
    bound = _least_info_nce(batch.region_ids)
    assert after["contrast"] - bound < 0.15 < 3 < before["contrast"] - bound
    assert after["feature"] < 0.03 < 0.3 < before["feature"]
    assert after["accuracy"] > 0.95 > 0.5 > before["accuracy"]
    assert after["total"] == pytest.approx(rows[-1]["val/total"])
    assert objective.training


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 5])
def test_a_killed_run_goes_on_to_the_same_weights(batches, tmp_path, kill_at):
    training, validation = batches
    fixed = [validation.batch(0)]
    whole = _objective()
    rows = train(whole, training, fixed, CONFIG, out=tmp_path / "whole", worker=CPU)

    first = _objective()
    out = tmp_path / "cut"
    train(first, training, fixed, CONFIG, out=out, worker=CPU, stop_after=kill_at)
    torch.rand(7)  # what happened in between does not matter
    second = _objective(replace(CONFIG, seed=9))  # its weights are replaced
    went_on = train(second, training, fixed, CONFIG, out=out, worker=CPU)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    for row, other in zip(rows, went_on, strict=True):
        assert row.keys() == other.keys() > {"train/total", "train/gradient", "val/total"}
        assert all(row[name] == other[name] for name in row.keys() - {"seconds"})
    with pytest.raises(StaleStageError, match=r"train\.seed was 42, is 5"):
        train(second, training, fixed, replace(CONFIG, seed=5), out=out, worker=CPU)


def test_the_last_step_changes_nothing(batches, tmp_path):
    objective = _objective()
    train(objective, *batches[:1], [], CONFIG, out=tmp_path, worker=CPU, stop_after=5)
    before = _weights(objective)
    train(objective, *batches[:1], [], CONFIG, out=tmp_path, worker=CPU)
    assert all(torch.equal(before[k], v) for k, v in objective.state_dict().items())


def test_accumulation_takes_further_batches(batches, tmp_path):
    numbers = []

    class Spy:
        def batch(self, number):
            numbers.append(number)
            return batches[0].batch(number)

    config = replace(CONFIG, accumulation=2, steps=3, warmup=1, dropout=0.0)
    train(_objective(config), Spy(), [], config, out=tmp_path / "a", worker=CPU)
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_gradients_are_clipped_to_the_given_norm(batches, tmp_path):
    tight = replace(CONFIG, max_grad_norm=1e-9, weight_decay=0.0)
    objective = _objective(tight)
    before = _weights(objective)
    train(objective, batches[0], [], tight, out=tmp_path, worker=CPU, stop_after=1)
    moved = max(float((v - before[k]).abs().max()) for k, v in objective.state_dict().items())
    assert moved < 0.4 * CONFIG.learning_rate  # AdamW's epsilon is felt: 1e-8 against 1e-9


def test_bf16_trains_close_to_fp32(batches, tmp_path):
    results = {}
    for precision in ("fp32", "bf16"):
        config = replace(CONFIG, precision=precision, dropout=0.0)
        objective = _objective(config)
        rows = train(
            objective,
            batches[0],
            [batches[1].batch(0)],
            config,
            out=tmp_path / precision,
            worker=CPU,
        )
        results[precision] = rows[-1]["val/total"]
        assert all(p.dtype == torch.float32 for p in objective.parameters())
    assert results["bf16"] != results["fp32"]
    assert results["bf16"] == pytest.approx(results["fp32"], rel=0.05)


def test_only_the_head_learns_and_not_its_unused_projection(batches, tmp_path):
    objective = _objective()
    before = _weights(objective)
    train(objective, batches[0], [], CONFIG, out=tmp_path, worker=CPU)
    changed = {k for k, v in objective.state_dict().items() if not torch.equal(before[k], v)}
    unused = {k for k in before if "layers.1.cross_attn.v_proj" in k}
    assert set(before) - changed == unused


def test_curves_are_written(batches, tmp_path):
    train(_objective(), batches[0], [batches[1].batch(0)], CONFIG, out=tmp_path, worker=CPU)
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [3, 6]
    assert float(rows[0]["train/total"]) == pytest.approx(
        float(rows[0]["train/contrast"]) + float(rows[0]["train/feature"]), rel=1e-5
    )
    assert cv2.imread(str(tmp_path / "curves.png")) is not None


def test_curve_files_by_themselves(tmp_path):
    rows = [{"step": 1.0, "train/a": 2.0}, {"step": 2.0, "train/a": 1.0, "val/a": 3.0}]
    write_csv(tmp_path / "c.csv", rows)
    assert (tmp_path / "c.csv").read_text().splitlines() == [
        "step,train/a,val/a",
        "1.0,2.0,",
        "2.0,1.0,3.0",
    ]
    plot_curves(tmp_path / "c.png", rows)
    assert cv2.imread(str(tmp_path / "c.png")).shape[2] == 3


def test_local_start_pools_the_patches_around_the_prompt():
    torch.manual_seed(0)
    head = RegionEncoder(128, 4, 3).eval()
    coarse = torch.randn(1, 128, 4, 4)
    features = F.interpolate(coarse, (16, 16), mode="bilinear")
    features = F.normalize(features, dim=1) * 128**0.5
    cells = torch.arange(16) * 14 + 7
    points = torch.cartesian_prod(cells, cells)[None]
    own = features[0].flatten(1).T

    def likeness():
        with torch.no_grad():
            output = head(features, points, 224)
        return [
            float(F.cosine_similarity(tokens[0], own).mean())
            for tokens in (output.ren_tokens, output.aligned_tokens)
        ]

    assert max(likeness()) < 0.5
    start_local(head, 16)
    assert min(likeness()) > 0.9
    assert not head.training


def test_a_sharper_local_start_looks_at_fewer_patches():
    features = F.normalize(torch.randn(1, 64, 16, 16), dim=1) * 8
    point = torch.tensor([[[112, 112]]])
    looked_at = []
    for sharpness in (2.0, 3.0):
        config = replace(CONFIG, num_heads=4, num_layers=2, start="local", sharpness=sharpness)
        head = build_head(64, 16, config).eval()
        with torch.no_grad():
            output = head(features, point, 224, with_attention=True)
        shares = output.attention_logits[-1].softmax(dim=-1)
        looked_at.append(float(shares.square().sum(dim=-1).reciprocal().mean()))
    assert 1 < looked_at[1] < looked_at[0] < 256


def test_attention_supervision_moves_attention_into_the_regions(batches, tmp_path):
    loss = LossConfig(contrast=0, feature=0, attention=1)
    config = replace(CONFIG, steps=60, learning_rate=1e-2, dropout=0.0, loss=loss)
    objective = _objective(config)
    batch = batches[0].batch(0)
    before = validate(objective, [batch], config)["attention"]
    train(objective, Repeated(batch), [], config, out=tmp_path, worker=CPU)
    assert validate(objective, [batch], config)["attention"] < 0.8 * before


def test_learned_queries_are_matched_to_regions_and_learn(batches, tmp_path):
    config = replace(CONFIG, queries="learned", steps=40, learning_rate=3e-3, dropout=0.0)
    objective = _objective(config)
    assert isinstance(objective, LearnedQueryObjective)
    batch = batches[0].batch(0)
    _, tokens, matched = objective._matched(batch)
    assert tokens.shape == (4, 24, DIM)
    for view in range(4):
        ids = matched.region_ids[view]
        assert sorted(ids[ids >= 0].tolist()) == sorted(
            set(batch.region_ids[view][batch.region_ids[view] >= 0].tolist())
        )
        query = int((ids >= 0).nonzero()[0])
        prompt = int((batch.region_ids[view] == ids[query]).nonzero()[0])
        assert torch.equal(matched.targets[view, query], batch.targets[view, prompt])
    before = validate(objective, [batch], config)["feature"]
    train(objective, Repeated(batch), [], config, out=tmp_path, worker=CPU)
    assert validate(objective, [batch], config)["feature"] < before - 0.1


def test_matching_accuracy_of_nothing_is_nan():
    assert torch.isnan(matching_accuracy(torch.randn(2, 3, 4), torch.full((2, 3), -1)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"warmup": 6},
        {"pairs": 0},
        {"precision": "int8"},
        {"start": "near"},
        {"queries": "none"},
        {"learning_rate": 0},
        {"sharpness": 0.0},
        {"dropout": 1.0},
    ],
)
def test_train_config_rejects_nonsense(wrong):
    with pytest.raises(ConfigError):
        replace(CONFIG, **wrong)


def test_recipes_name_known_encoders():
    from ren_core.encoders.catalog import NAMES

    assert {entry.encoder for entry in RECIPES.values()} <= set(NAMES)
    assert recipe("dinov2-vitl14").train.sampling.count == 256
    with pytest.raises(ConfigError, match="embedded"):
        recipe("nothing")


@pytest.fixture
def tiny_recipe(monkeypatch):
    monkeypatch.setattr(run_module, "build_encoder", lambda name: TinyEncoder())
    small = replace(recipe("embedded"), encoder="dinov2-vits14", train=CONFIG, held_out_every=6)
    monkeypatch.setitem(RECIPES, "embedded", small)
    monkeypatch.setitem(RECIPES, "dino-vitb8", replace(small, cached=False))
    monkeypatch.setattr(train_ren, "yolo_source", label_folder_source)


def _command(data, out, *more):
    return ["--out", str(out), "--yolo", str(data / "images"), str(data / "labels"), *more]


@pytest.mark.parametrize("name", ["embedded", "dino-vitb8"])
def test_command_line_trains_resumes_and_writes_a_head(tiny_recipe, data, tmp_path, capsys, name):
    command = _command(data, tmp_path, "--recipe", name, "--attention", "0.5", "--steps", "4")
    assert train_ren.main([*command, "--stop-after", "2"]) == 0
    half = load_region_encoder(tmp_path / "ren.safetensors")
    assert train_ren.main([*command, "--save", str(tmp_path / "mine.safetensors")]) == 0
    assert "mine.safetensors" in capsys.readouterr().out
    head = load_region_encoder(tmp_path / "mine.safetensors", expected_dim=DIM)
    assert not torch.equal(head.prompt_proj.weight, half.prompt_proj.weight)
    config = read_config(tmp_path / "mine.safetensors")
    assert config["encoder"] == "dinov2-vits14"
    assert config["training"]["train"]["loss"]["attention"] == 0.5
    assert config["final"]["step"] == 4
    assert json.loads((tmp_path / "recipe.json").read_text())["train"]["steps"] == 4


def test_command_line_does_not_go_on_with_other_data(tiny_recipe, data, tmp_path, capsys):
    assert train_ren.main(_command(data, tmp_path)) == 0
    head = (tmp_path / "ren.safetensors").read_bytes()
    assert train_ren.main(_command(data, tmp_path, "--no-cross-frame")) == 1
    assert "sources.yolo.cross_frame was True, is False" in capsys.readouterr().err
    fewer = tmp_path / "fewer"
    shutil.copytree(data / "images", fewer)
    (fewer / "0.png").rename(fewer / "00.png")
    shutil.copytree(data / "labels", tmp_path / "labels")
    (tmp_path / "labels/0.png").rename(tmp_path / "labels/00.png")
    renamed = ["--out", str(tmp_path), "--yolo", str(fewer), str(tmp_path / "labels")]
    assert train_ren.main(renamed) == 1
    assert "pictures.yolo was" in capsys.readouterr().err
    assert (tmp_path / "ren.safetensors").read_bytes() == head
    assert train_ren.main(_command(data, tmp_path, "--keep-start", "1")) == 0  # mixed in afterwards
    assert (tmp_path / "ren.safetensors").read_bytes() != head


def test_command_line_does_not_go_on_with_other_encoder_weights(
    tiny_recipe, data, tmp_path, capsys, monkeypatch
):
    online = ["--recipe", "dino-vitb8"]
    assert train_ren.main(_command(data, tmp_path, *online, "--stop-after", "1")) == 0
    other = TinyEncoder()
    other.lift.weight.data += 1
    monkeypatch.setattr(run_module, "build_encoder", lambda name: other)
    assert train_ren.main(_command(data, tmp_path, *online)) == 1
    assert "encoder.weights was" in capsys.readouterr().err


def test_learned_queries_are_written_but_are_no_region_encoder(tiny_recipe, data, tmp_path):
    assert (
        train_ren.main(_command(data, tmp_path, "--queries", "learned", "--keep-start", "0")) == 0
    )
    path = tmp_path / "ren.safetensors"
    with pytest.raises(DataError, match="takes no point prompts") as error:
        load_region_encoder(path)
    assert "\n" not in str(error.value)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        queries = file.get_tensor("queries")
        config = json.loads(file.metadata()["config"])
    assert config["training"]["train"]["queries"] == "learned"
    assert not any("prompt_proj" in name for name in names)
    trained = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    assert {"queries", "places", "head.out_proj.weight"} < names < set(trained)
    assert torch.equal(queries, trained["queries"].half())


def test_the_written_head_keeps_a_share_of_its_start(tiny_recipe, data, tmp_path, monkeypatch):
    heads = {}
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setitem(RECIPES, "embedded", replace(recipe("embedded"), keep_start=share))
        out = tmp_path / str(share)
        assert train_ren.main(_command(data, out, "--steps", "3")) == 0
        heads[share] = load_region_encoder(out / "ren.safetensors").prompt_proj.weight
    middle = (heads[0.0] + heads[1.0]) / 2
    assert not torch.allclose(heads[0.0], heads[1.0], atol=1e-4)
    assert torch.allclose(heads[0.5], middle, atol=1e-3)
    with pytest.raises(ConfigError, match="keep_start"):
        replace(recipe("embedded"), keep_start=1.5)


def test_command_line_names_what_is_missing(tiny_recipe, tmp_path, capsys):
    assert train_ren.main(["--out", str(tmp_path)]) == 2
    assert "--scenes" in capsys.readouterr().err
    assert train_ren.main(["--out", str(tmp_path), "--scenes", str(tmp_path)]) == 1
    assert "truth.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        train_ren.main(["--out", str(tmp_path), "--recipe", "nothing"])
