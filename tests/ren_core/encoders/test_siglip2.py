"""SigLIP 2 against timm's own head, OpenCLIP's own model and the transformers implementation."""

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    Siglip2Tokenizer,
    SiglipTextConfig,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from ren_core.encoders import siglip2
from ren_core.encoders.base import fingerprint
from ren_core.encoders.siglip2 import (
    CONTEXT,
    MODELS,
    Sizes,
    byte_tokenizer,
    load_siglip2,
    random_siglip2,
    read_tokenizer,
    token_ids,
)
from ren_core.errors import ConfigError, DataError, ShapeError

SMALL = Sizes(width=48, depth=2, heads=3, text_width=32, text_depth=2, text_heads=2)


@pytest.fixture(scope="module")
def model():
    return random_siglip2(seed=3, sizes=SMALL, input_size=64)


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))


def region_masks(batch, regions, patches=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(batch, regions, patches, generator=generator) < 0.3
    masks[..., 0] |= ~masks.any(-1)
    return masks


def test_facts_of_the_default_model():
    with torch.device("meta"):
        config = siglip2._config("siglip2-giant-opt-384")
        vision = siglip2._vision("siglip2-giant-opt-384", config, {})
    spec = vision.spec
    assert (spec.input_size, spec.grid, spec.dim) == (384, 24, 1536)
    assert spec.mean == spec.std == (0.5, 0.5, 0.5)
    assert len(vision.network.blocks) == 40
    assert (config["text_cfg"]["width"], config["embed_dim"]) == (1152, 1536)
    assert config["text_cfg"]["context_length"] == CONTEXT


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes_are_those_of_openclips_files(name):
    """OpenCLIP's own model of that name defines what its weight files hold."""
    config = siglip2._config(name)
    with torch.device("meta"):
        theirs = open_clip.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
        vision, text = siglip2._vision(name, config, {}), siglip2._text_network(config, {})
    ours = {"visual.trunk." + n: t.shape for n, t in vision.network.state_dict().items()}
    ours |= {"text." + n: t.shape for n, t in text.state_dict().items()}
    expected = {n: t.shape for n, t in theirs.state_dict().items() if not n.startswith("logit_")}
    assert ours == expected


def test_masked_pooling_is_pooling_the_subset(model, images):
    tokens = model.vision(images).tokens
    masks = region_masks(2, 7)
    pooled = model.vision.pool_patches(tokens, masks)
    head = model.vision.network.attn_pool
    for b in range(2):
        for r in range(7):
            alone = head(tokens[b : b + 1, masks[b, r]])[0]
            torch.testing.assert_close(pooled[b, r], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.vision.pool_regions(images, masks), pooled)
    assert (pooled[0, 0] - pooled[0, 1]).abs().max() > 1e-3


def test_a_full_mask_gives_the_networks_own_embedding(model, images):
    everything = torch.ones(2, 1, 16, dtype=torch.bool)
    expected = model.vision.network(model.vision.prepare(images))
    found = model.vision.pool_regions(images, everything)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_empty_and_misfit_masks_are_refused(model, images):
    masks = region_masks(2, 3)
    masks[1, 2] = False
    with pytest.raises(ShapeError, match="empty"):
        model.vision.pool_regions(images, masks)
    with pytest.raises(ShapeError, match=r"\(2, R, 16\) bool, got \(1, 3, 16\)"):
        model.vision.pool_regions(images, region_masks(1, 3))
    with pytest.raises(ShapeError, match="float32"):
        model.vision.pool_regions(images, region_masks(2, 3).float())


def copy(pairs):
    """Copy pairs (target, source) of parameters."""
    with torch.no_grad():
        for target, source in pairs:
            target.copy_(source.reshape(target.shape))


def copy_layers(theirs, ours, *, fused, names):
    for layer, block in zip(theirs, ours, strict=True):
        for part in ("weight", "bias"):
            attention = layer.self_attn
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            pieces = fused(block, part).chunk(3)
            copy((getattr(p, part), s) for p, s in zip(projections, pieces, strict=True))
            pairs = {
                attention.out_proj: names["out"],
                layer.layer_norm1: names["norm1"],
                layer.layer_norm2: names["norm2"],
                layer.mlp.fc1: names["fc1"],
                layer.mlp.fc2: names["fc2"],
            }
            copy((getattr(t, part), block.get_parameter(f"{n}.{part}")) for t, n in pairs.items())


def test_text_tower_agrees_with_transformers(model):
    """transformers' SigLIP text model is the definition of what is done with the padding."""
    ours = model.text.network
    theirs = SiglipTextModel(
        SiglipTextConfig(
            vocab_size=ours.vocab_size,
            hidden_size=32,
            intermediate_size=ours.transformer.resblocks[0].mlp.c_fc.out_features,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_size=48,
        )
    ).eval()
    names = {"out": "attn.out_proj", "norm1": "ln_1", "norm2": "ln_2"}
    names |= {"fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}
    copy_layers(
        theirs.encoder.layers,
        ours.transformer.resblocks,
        fused=lambda block, part: getattr(block.attn, f"in_proj_{part}"),
        names=names,
    )
    pairs = [
        (theirs.embeddings.token_embedding.weight, ours.token_embedding.weight),
        (theirs.embeddings.position_embedding.weight, ours.positional_embedding),
    ]
    for part in ("weight", "bias"):
        pairs.append((getattr(theirs.final_layer_norm, part), getattr(ours.ln_final, part)))
        pairs.append((getattr(theirs.head, part), getattr(ours.text_projection, part)))
    copy(pairs)
    texts = ["This is a photo of a dog.", "x"]
    with torch.no_grad():
        expected = theirs(token_ids(texts, model.text.tokenizer)).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(model.text(texts), expected, rtol=1e-4, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_image_tower_agrees_with_transformers(model, images):
    ours = model.vision.network
    theirs = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=48,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=3,
            image_size=64,
            patch_size=16,
        )
    ).eval()
    names = {"out": "attn.proj", "norm1": "norm1", "norm2": "norm2"}
    names |= {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    copy_layers(
        theirs.encoder.layers,
        ours.blocks,
        fused=lambda block, part: getattr(block.attn.qkv, part),
        names=names,
    )
    head, pool = theirs.head, ours.attn_pool
    pairs = [
        (theirs.embeddings.position_embedding.weight, ours.pos_embed),
        (head.probe, pool.latent),
    ]
    embedding, projection = theirs.embeddings.patch_embedding, ours.patch_embed.proj
    for part in ("weight", "bias"):
        q, kv = getattr(pool.q, part), getattr(pool.kv, part)
        pairs += [
            (getattr(embedding, part), getattr(projection, part)),
            (getattr(theirs.post_layernorm, part), getattr(ours.norm, part)),
            (getattr(head.attention, f"in_proj_{part}"), torch.cat([q, kv])),
            (getattr(head.attention.out_proj, part), getattr(pool.proj, part)),
            (getattr(head.layernorm, part), getattr(pool.norm, part)),
            (getattr(head.mlp.fc1, part), getattr(pool.mlp.fc1, part)),
            (getattr(head.mlp.fc2, part), getattr(pool.mlp.fc2, part)),
        ]
    copy(pairs)
    with torch.no_grad():
        expected = theirs(pixel_values=model.vision.prepare(images))
    tokens = model.vision(images).tokens
    torch.testing.assert_close(tokens, expected.last_hidden_state, rtol=1e-3, atol=1e-4)
    pooled = model.vision.pool_patches(tokens, torch.ones(2, 1, 16, dtype=torch.bool))[:, 0]
    torch.testing.assert_close(pooled, expected.pooler_output, rtol=1e-3, atol=1e-4)


def test_token_ids_by_hand():
    tokenizer = byte_tokenizer()
    ids = token_ids(["aB", "x" * 100], tokenizer)
    assert ids.dtype == torch.int64
    assert ids[0].tolist() == [4 + ord("a"), 4 + ord("b"), 1] + [0] * 61
    assert ids[1].tolist() == [4 + ord("x")] * 63 + [1]


def test_a_tokenizer_file_is_read_as_transformers_reads_it(tmp_path):
    """A small file of the real one's kind (BPE with bytes, spaces as a sign) and its reader."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    words += [f"<0x{byte:02X}>" for byte in range(256)] + [*"adghop", "▁", "do", "dog", "▁a"]
    merges = [("d", "o"), ("do", "g"), ("▁", "a")]
    theirs = Siglip2Tokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges)
    backend = theirs._tokenizer
    backend.enable_padding(length=7)
    backend.enable_truncation(3)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json")
    text = "A Dog hop, ok"
    expected = theirs(text, padding=False, truncation=False)["input_ids"]
    assert words.index("dog") in expected
    assert len(expected) > 3
    row = token_ids([text], tokenizer)[0].tolist()
    assert row == [*expected, 1] + [0] * (63 - len(expected))


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (random_siglip2(seed=s, sizes=SMALL, input_size=32) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.fingerprint == fingerprint([first.vision], 32)
    assert torch.equal(first.text(["a"]), again.text(["a"]))
    base = random_siglip2("siglip2-base-384", seed=1, sizes=SMALL, tokenizer=byte_tokenizer())
    assert (base.vision.spec.grid, base.vision.spec.name) == (24, "siglip2-base-384")


@pytest.fixture
def small_architecture(monkeypatch):
    """The default model's architecture at the size of ``SMALL``."""
    config = siglip2._config("siglip2-giant-opt-384")
    vision_builder = siglip2._vision
    text = {**config["text_cfg"], "width": 32, "heads": 2, "layers": 2, "vocab_size": 260}
    small = {**config, "embed_dim": 48, "text_cfg": text}
    options = {"embed_dim": 48, "depth": 2, "num_heads": 3}
    monkeypatch.setattr(siglip2, "_config", lambda _: small)
    monkeypatch.setattr(
        siglip2, "_vision", lambda name, given, _: vision_builder(name, given, options, 64)
    )


@pytest.mark.usefixtures("small_architecture")
def test_both_towers_are_loaded_from_one_file(tmp_path, model, images):
    state = {"visual.trunk." + n: t for n, t in model.vision.network.state_dict().items()}
    state |= {"text." + n: t for n, t in model.text.network.state_dict().items()}
    state |= {"logit_scale": torch.ones(()), "logit_bias": torch.ones(())}
    weights, words = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    save_file(state, weights)
    byte_tokenizer().save(str(words))
    loaded = load_siglip2(weights=weights, tokenizer=words).to("cpu")
    assert loaded.fingerprint == model.fingerprint
    masks = region_masks(2, 2)
    expected = model.vision.pool_regions(images, masks)
    torch.testing.assert_close(loaded.vision.pool_regions(images, masks), expected)
    torch.testing.assert_close(loaded.text(["A dog."]), model.text(["a dog."]))

    del state["text.ln_final.bias"]
    save_file(state, weights)
    with pytest.raises(DataError, match=r"model\.safetensors does not hold .*ln_final\.bias"):
        load_siglip2(weights=weights, tokenizer=words)


def test_missing_and_damaged_files_are_sentences(tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"vq2d fetch-weights siglip2-tokenizer"):
        load_siglip2()
    words = tmp_path / "tokenizer.json"
    byte_tokenizer().save(str(words))
    with pytest.raises(DataError, match=r"vq2d fetch-weights siglip2-giant-opt-384"):
        load_siglip2(tokenizer=words)
    words.write_text("{}")
    with pytest.raises(DataError, match=r"not a tokenizer\.json"):
        load_siglip2(tokenizer=words)
    with pytest.raises(DataError, match="not at"):
        read_tokenizer(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="siglip3"):
        load_siglip2("siglip3")
