"""What is kept of a video answers like the chunks that it was packed from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ren_core.errors import DataError
from vq2d.localize.build import build_localizer
from vq2d.localize.chunks import TokenChunk, track_arrays, write_chunk
from vq2d.localize.join import FrameTokens, JoinConfig, join_tokens
from vq2d.localize.presets import preset
from vq2d.localize.projection import (
    fit_projection,
    load_projection,
    save_projection,
    shipped_projection,
    whole_space,
)
from vq2d.localize.search import score_frames
from vq2d.memory.kept import KeptVideo, pack
from vq2d.memory.memory import projection_for, remembering

D, THINGS = 32, 6


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def things():
    return unit(np.random.default_rng(0).standard_normal((THINGS, D)))


@pytest.fixture(scope="module")
def chunks(things, tmp_path_factory):
    """Three chunks of eight frames; thing k is in sight in frames that k + 2 divides."""
    folder, rng = tmp_path_factory.mktemp("chunks"), np.random.default_rng(1)
    found = []
    for first in (0, 8, 16):
        tokens = []
        for i in range(first, first + 8):
            seen = [k for k in range(THINGS) if i % (k + 2) == 0] or [0]
            noise = 0.02 * rng.standard_normal((len(seen), D))
            points = np.float32([[40 * k + 10, 30 + i] for k in seen])
            tokens.append(FrameTokens(i, unit(things[seen] + noise), points))
        path = folder / f"{first:06d}.safetensors"
        write_chunk(path, track_arrays(join_tokens(tokens, 300, JoinConfig(enabled=True))), [])
        found.append(TokenChunk(path, first, first + 7))
    return found


@pytest.fixture
def kept(chunks, tmp_path):
    projection = whole_space(D, "model")
    return KeptVideo(tmp_path, pack(chunks, projection, tmp_path), projection)


def test_frames_score_as_before_they_were_packed(chunks, kept, things):
    query = torch.from_numpy(things[2:4])
    before = score_frames(chunks, query, 0, 24, own_look=0.75)
    after = score_frames(kept.chunks(), query, 0, 24, own_look=0.75)
    assert (after.frame_idx == before.frame_idx).all()
    assert np.abs(after.similarity - before.similarity).max() < 0.01
    assert (after.points_xy == before.points_xy)[before.similarity > 0.5].all()


def test_the_best_similarity_is_that_of_what_is_seen_before_the_end(kept, things):
    only_later = unit(things[5] + 0 * things[0])  # seen in frames 0, 7, 14 and 21
    assert kept.best_similarity(torch.from_numpy(only_later[None]), 24) > 0.95
    other = unit(np.random.default_rng(9).standard_normal((1, D)))
    low = kept.best_similarity(torch.from_numpy(other), 24)
    assert low < 0.6
    assert kept.best_similarity(torch.from_numpy(other), 8) <= low
    assert kept.best_similarity(torch.from_numpy(other), 0) == -1


def test_chunks_keep_their_frames_and_their_damage(chunks, kept):
    found = kept.chunks(held=[3, 9, 10])
    assert [(c.first_frame, c.last_frame) for c in found] == [(0, 7), (8, 15), (16, 23)]
    assert [c.held for c in found] == [(3,), (9, 10), ()]
    for one, other in zip(chunks, found, strict=True):
        assert (one.frame_idx == other.frame_idx).all()
        assert (one.points_xy == other.points_xy).all()


def test_a_long_video_in_lists_answers_the_same(chunks, kept, things, tmp_path, monkeypatch):
    monkeypatch.setattr("vq2d.memory.kept.LISTS_FROM", 1)
    monkeypatch.setattr("vq2d.memory.kept.LIST_LENGTH", 5)
    folder = tmp_path / "lists"
    folder.mkdir()
    listed = KeptVideo(folder, pack(chunks, kept.reduce, folder), kept.reduce)
    assert listed._index.nlist > 1
    assert listed.bounds == kept.bounds
    listed.verify()
    for query in (torch.from_numpy(things[2:4]), torch.from_numpy(things[:1])):
        flat = score_frames(kept.chunks(), query, 0, 24, own_look=0.75)
        found = score_frames(listed.chunks(), query, 0, 24, own_look=0.75)
        assert np.abs(flat.similarity - found.similarity).max() < 1e-5
        for end in (0, 8, 24):
            best = kept.best_similarity(query, end)
            assert listed.best_similarity(query, end) == pytest.approx(best, abs=1e-5)
            assert listed.best_similarity(query, end, thorough=False) <= best + 1e-5


def test_fewer_dimensions_keep_what_is_alike(chunks, things, tmp_path):
    """Six things and a little noise: seven directions hold nearly all."""
    sample = np.random.default_rng(2).standard_normal((500, D)) * 0.02
    vectors = unit(things[np.arange(500) % THINGS] + sample)
    projection = fit_projection(vectors.T @ vectors, 7, "model")
    kept = KeptVideo(tmp_path, pack(chunks, projection, tmp_path), projection)
    query = torch.from_numpy(things[1:2])
    before = score_frames(chunks, query, 0, 24, own_look=0.75)
    after = score_frames(kept.chunks(), query, 0, 24, own_look=0.75)
    assert np.abs(after.similarity - before.similarity).max() < 0.06
    assert after.similarity.argmax() == before.similarity.argmax()


def test_a_projection_is_orthonormal_and_the_same_again(tmp_path):
    moment = np.diag(np.arange(1.0, 9.0))
    projection = fit_projection(moment, 3, "model")
    assert np.allclose(projection.basis.T @ projection.basis, np.eye(3), atol=1e-6)
    assert np.abs(projection.basis).argmax(axis=0).tolist() == [7, 6, 5]
    assert (projection.basis.max(axis=0) > 0).all()
    save_projection(tmp_path / "p.safetensors", projection)
    again = load_projection(tmp_path / "p.safetensors")
    assert again.model == "model"
    assert np.allclose(again.basis, projection.basis, atol=1e-3)


def test_a_file_that_is_no_projection_is_one_sentence(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="is no projection"):
        load_projection(tmp_path / "p.safetensors")


def test_no_projection_ships_with_an_unknown_model():
    assert shipped_projection("another") is None


def test_the_projection_that_ships_is_that_of_the_embedded_preset():
    """Also: memories of older versions are still of this model."""
    projection = projection_for(build_localizer(remembering(preset("embedded"))))
    assert projection.basis.shape == (492, 128)


def test_files_of_two_videos_do_not_pass_for_one(chunks, kept, tmp_path):
    kept.verify()
    bounds = pack(chunks[:2], kept.reduce, tmp_path)
    with pytest.raises(DataError, match="do not belong together"):
        KeptVideo(tmp_path, kept.bounds, kept.reduce).verify()
    KeptVideo(tmp_path, bounds, kept.reduce).verify()
