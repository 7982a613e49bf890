"""What is kept of a clip: tokens or region tracks, read ahead of the network."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ren_core.errors import ConfigError, DataError
from tests.clips import FramesInMemory, frame
from tests.tiny import tiny_ren
from vq2d.localize import tokens
from vq2d.localize.build import build_token_encoder
from vq2d.localize.chunks import (
    TokenChunk,
    compact_arrays,
    compact_similarities,
    track_arrays,
    write_chunk,
)
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.join import FrameTokens, JoinConfig, RegionTracks
from vq2d.localize.pipeline import read_ahead, take_behind
from vq2d.localize.presets import preset
from vq2d.localize.projection import fit_projection
from vq2d.localize.search import score_frames
from vq2d.localize.tokens import AHEAD_OF_GPU, TokenConfig, clip_tokens, open_tokens, reduction

JOIN = JoinConfig(enabled=True, similarity=0.95, link=0.9)


@pytest.fixture(scope="module")
def encoder():
    return TokenEncoder(tiny_ren(aggregate=False), EncodeConfig(space="patch"))


@pytest.fixture(scope="module")
def chunks(encoder, tmp_path_factory):
    """Chunks of the tokens of a clip, and of the region tracks that they are joined into."""
    frames = FramesInMemory([frame(i) for i in range(12)])
    found = []
    for join in (JoinConfig(), JOIN):
        folder = tmp_path_factory.mktemp("tokens")
        config = TokenConfig(chunk_frames=6, join=join)
        found.append(clip_tokens(frames, encoder, config, directory=folder, num_frames=12))
    return found


class TestRegionTracksOnDisk:
    @pytest.mark.parametrize("own_look", [0.0, 0.5, 1.0])
    def test_search_finds_the_same_frames_as_similar(self, chunks, encoder, own_look):
        (query,) = encoder.regions([frame(4)])
        before, after = (
            score_frames(found, query.vectors[:5], 0, 12, own_look=own_look) for found in chunks
        )
        assert (after.frame_idx == before.frame_idx).all()
        assert np.abs(after.similarity - before.similarity).max() < 0.06

    def test_they_are_a_fraction_of_the_bytes(self, chunks):
        before, after = (sum(c.path.stat().st_size for c in found) for found in chunks)
        assert after < before / 5

    def test_the_identity_of_tokens_knows_of_joining(self, encoder, tmp_path):
        stages = {
            open_tokens(tmp_path, encoder, TokenConfig(join=join))
            for join in (JoinConfig(), JOIN, JoinConfig(enabled=True, link=0.6))
        }
        assert len(stages) == 3

    def test_a_sight_has_its_own_similarity_and_that_of_its_track(self, tmp_path):
        east, north = np.eye(2, dtype=np.float32)
        tracks = RegionTracks(
            vectors=np.stack([north, east, north]),
            owner=np.int32([0, 1, 1]),
            frame_idx=np.int32([0, 0, 1, 1]),
            track=np.int32([0, 1, 0, 1]),
            points_xy=np.float32([[1.2, 3.9], [5, 6], [7, 8], [95.7, 0]]),
            mix=np.float32([[1, 0, 0, 0], [0.6, 0.8, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]),
        )
        chunk = TokenChunk(tmp_path / "c.safetensors", 0, 1)
        write_chunk(chunk.path, track_arrays(tracks), [1])
        found = chunk.similarities(torch.tensor([[1.0, 0.0], [0.6, -0.8]]))
        assert found.own == pytest.approx([0, 0.6, 0, 0], abs=5e-3)
        assert found.track == pytest.approx([0, 1, 0, 1], abs=5e-3)
        assert chunk.points_xy[[0, 3]].tolist() == [[1.5, 3.5], [95.5, 0.5]]
        assert chunk.frame_idx.tolist() == [0, 0, 1, 1]
        assert chunk.held == [1]

    def test_a_chunk_without_sights_is_read(self, tmp_path):
        nothing = RegionTracks(
            *(np.zeros(shape, np.float32) for shape in ((0, 2), 0, 0, 0, (0, 2), (0, 4)))
        )
        chunk = TokenChunk(tmp_path / "c.safetensors", 0, 1)
        write_chunk(chunk.path, track_arrays(nothing), [])
        scores = score_frames([chunk], torch.eye(2), 0, 2, own_look=0.5)
        assert len(scores.frame_idx) == 0


@pytest.fixture
def fitted(encoder, chunks, monkeypatch):
    """Eight of the directions of the clip's tokens, as if they shipped with the model."""
    vectors = np.concatenate([load_file(c.path)["vectors"] for c in chunks[0]]).astype(np.float32)
    projection = fit_projection(vectors.T @ vectors, 8, encoder.space)
    known = {encoder.space: projection}
    monkeypatch.setattr(tokens, "shipped_projection", known.get)
    return projection


class TestTokensInFewerDimensions:
    @pytest.fixture
    def compact(self, fitted, encoder, tmp_path):
        frames = FramesInMemory([frame(i) for i in range(12)])
        config = TokenConfig(chunk_frames=6, directions=8)
        return clip_tokens(frames, encoder, config, directory=tmp_path, num_frames=12)

    def test_search_finds_the_same_frames_as_similar(self, chunks, compact, encoder):
        (query,) = encoder.regions([frame(4)])
        before, after = (
            score_frames(found, query.vectors[:5], 0, 12, own_look=0.75)
            for found in (chunks[0], compact)
        )
        assert (after.frame_idx == before.frame_idx).all()
        assert np.abs(after.similarity - before.similarity).max() < 0.1  # of 8 coarse numbers
        apart = [b.points_xy - a.points_xy for b, a in zip(chunks[0], compact, strict=True)]
        assert np.abs(apart).max() <= 0.5

    def test_they_are_a_fraction_of_the_bytes(self, chunks, compact, fitted):
        """Two bytes for each of 16 numbers before, now half a byte for 8; places take the rest."""
        for before, after in zip(chunks[0], compact, strict=True):
            sizes = [load_file(chunk.path)["vectors"].nbytes for chunk in (before, after)]
            assert sizes[1] * 8 == sizes[0]

    def test_each_number_errs_by_half_a_step_at_most(self, fitted):
        exact = [FrameTokens(0, np.eye(16, dtype=np.float32)[:4], np.zeros((4, 2), np.float32))]
        kept = {n: torch.from_numpy(a) for n, a in compact_arrays(exact, fitted).items()}
        similar = compact_similarities(kept, torch.from_numpy(fitted.basis.T.copy()), fitted)
        wanted = torch.from_numpy(fitted(exact[0].vectors))
        assert ((similar - wanted).abs() <= kept["step"] / 2 + 1e-6).all()

    def test_a_direction_in_which_nothing_differs_is_kept(self, fitted):
        same = [FrameTokens(3, np.full((5, 16), 0.25, np.float32), np.zeros((5, 2), np.float32))]
        kept = {n: torch.from_numpy(a) for n, a in compact_arrays(same, fitted).items()}
        similar = compact_similarities(kept, torch.full((1, 16), 0.25), fitted)
        wanted = float((fitted(same[0].vectors[:1]) ** 2).sum())
        assert similar.flatten().tolist() == pytest.approx([wanted] * 5, abs=1e-5)

    def test_the_identity_of_tokens_knows_the_directions(self, fitted, encoder, tmp_path):
        numbers = (None, 4, 8)
        assert (
            len({open_tokens(tmp_path, encoder, TokenConfig(directions=n)) for n in numbers}) == 3
        )

    def test_more_directions_than_were_fitted_are_refused(self, fitted, encoder, tmp_path):
        with pytest.raises(ConfigError, match="10 directions are asked for, and 8 were fitted"):
            open_tokens(tmp_path, encoder, TokenConfig(directions=10))

    def test_directions_ship_for_the_embedded_preset(self):
        config = preset("embedded")
        fitted = reduction(build_token_encoder(config), config.tokens)
        assert fitted is not None
        assert fitted.basis.shape == (492, 192)

    def test_a_model_without_directions_keeps_its_tokens_whole(self, encoder, tmp_path, caplog):
        config = TokenConfig(directions=8, chunk_frames=6)
        folder = open_tokens(tmp_path, encoder, config)
        assert "no directions were fitted" in caplog.text
        frames = FramesInMemory([frame(i) for i in range(6)])
        (chunk,) = clip_tokens(frames, encoder, config, directory=folder, num_frames=6)
        assert load_file(chunk.path)["vectors"].dtype == np.float16


class OneThreadFrames(FramesInMemory):
    """Frames that note who reads them, and break at one."""

    def __init__(self, count, broken=None):
        super().__init__([frame(i) for i in range(count)])
        self.broken, self.reading, self.read = broken, threading.Lock(), []

    def __getitem__(self, i):
        assert self.reading.acquire(blocking=False), "two threads read at once"
        try:
            if i == self.broken:
                raise DataError("frame 5 is broken")
            self.read.append(i)
            return super().__getitem__(i)
        finally:
            self.reading.release()


class TestReadingAhead:
    def test_so_many_items_are_read_while_one_is_used_and_no_more(self):
        started = [threading.Event() for _ in range(6)]

        def read(item):
            started[item].set()
            return 10 * item

        with ThreadPoolExecutor(1) as reader:
            results = read_ahead(lambda item: reader.submit(read, item), range(6), 2)
            assert next(results) == 0
            assert started[1].wait(5)
            assert started[2].wait(5)
            assert not started[3].is_set()
            assert list(results) == [10, 20, 30, 40, 50]
            assert list(read_ahead(reader.submit, [], 1)) == []

    @pytest.mark.parametrize("behind", [0, 1, 3, 9])
    def test_results_are_taken_behind_what_was_started(self, behind):
        events = []

        def start(item):
            events.append(f"start {item}")
            return lambda: events.append(f"take {item}") or item

        assert list(take_behind(map(start, range(4)), behind)) == [0, 1, 2, 3]
        for item in range(4):
            begun = f"start {min(item + behind, 3)}"
            assert events.index(begun) < events.index(f"take {item}")
            assert f"start {item + behind + 1}" not in events[: events.index(f"take {item}")]

    def test_frames_are_read_in_order_by_one_thread(self, encoder, tmp_path):
        frames = OneThreadFrames(7)
        config = TokenConfig(chunk_frames=4, batch_crops=10)
        clip_tokens(frames, encoder, config, directory=tmp_path, num_frames=7)
        assert frames.read == list(range(7))

    def test_what_reading_raises_is_raised_and_nothing_half_is_kept(self, encoder, tmp_path):
        frames = OneThreadFrames(8, broken=5)
        config = TokenConfig(chunk_frames=4, batch_crops=5)
        with pytest.raises(DataError, match="frame 5 is broken"):
            clip_tokens(frames, encoder, config, directory=tmp_path, num_frames=8)
        assert [path.name for path in tmp_path.iterdir()] == ["000000.safetensors"]

    def test_what_is_found_damaged_later_is_not_noted_before(self, encoder, tmp_path, monkeypatch):
        """The files are the same however far the decoder is ahead."""
        read, start = threading.Event(), encoder.start

        class Damaged(FramesInMemory):
            def __getitem__(self, i):
                if i == 4:  # decoding on to the next file it meets damage in the last one
                    self.held = {1, 3, 4}
                    read.set()
                return super().__getitem__(i)

        def slow(ready):
            take = start(ready)
            assert read.wait(5)
            return take

        frames = Damaged([frame(i) for i in range(8)])
        config = TokenConfig(chunk_frames=4, frame_stride=2, batch_crops=10)
        monkeypatch.setattr(encoder, "start", slow)
        chunks = clip_tokens(frames, encoder, config, directory=tmp_path, num_frames=8)
        assert [chunk.held for chunk in chunks] == [[], [4]]

    def test_what_the_network_raises_waits_for_the_reader(self, encoder, tmp_path, monkeypatch):
        def fail(images):
            raise RuntimeError("no memory")

        monkeypatch.setattr(encoder, "start", fail)
        before = threading.active_count()
        with pytest.raises(RuntimeError, match="no memory"):
            clip_tokens(
                OneThreadFrames(8),
                encoder,
                TokenConfig(batch_crops=5),
                directory=tmp_path,
                num_frames=8,
            )
        assert threading.active_count() == before


@pytest.fixture
def streaming(monkeypatch):
    """Encoders work as on a GPU: ahead of what is taken."""
    monkeypatch.setattr(TokenEncoder, "streams", property(lambda encoder: encoder._is_plain))


def plain_encoder(**settings):
    return TokenEncoder(tiny_ren(**{"aggregate": False, **settings}), EncodeConfig())


def arrays_of(frames, folder, config, encoder=None):
    encoder = encoder or plain_encoder()
    chunks = clip_tokens(frames, encoder, config, directory=folder, num_frames=len(frames))
    return [load_file(chunk.path) for chunk in chunks]


class Counted(np.ndarray):
    """An array that can be told from others."""

    __hash__ = object.__hash__


class CountedFrames(FramesInMemory):
    """Frames that are made when they are read; counts those that someone still holds."""

    def __init__(self, count):
        super().__init__(range(count))
        self.alive, self.most, self.counting = weakref.WeakSet(), 0, threading.Lock()

    def __getitem__(self, i):
        made = frame(i % 30).view(Counted)
        with self.counting:
            self.alive.add(made)
            self.most = max(self.most, len(self.alive))
        return made


class TestStreaming:
    """What a GPU's stage 1 does, on the processor."""

    @pytest.mark.parametrize("merging", [{}, {"aggregate": True, "merge_similarity": 0.995}])
    @pytest.mark.parametrize("stride", [1, 3])
    def test_the_tokens_are_those_of_the_plain_way(self, merging, stride, tmp_path, monkeypatch):
        frames = FramesInMemory([frame(i) for i in range(13)])
        config = TokenConfig(chunk_frames=6, batch_crops=10, frame_stride=stride)
        encoder = plain_encoder(**merging)
        plain = arrays_of(frames, tmp_path / "plain", config, encoder)
        monkeypatch.setattr(TokenEncoder, "streams", property(lambda encoder: True))
        found = arrays_of(frames, tmp_path / "ahead", config, encoder)
        assert len(plain) == len(found) == 3
        most = 5 * 64 * 6 // stride
        assert (
            (len(plain[0]["vectors"]) < most / 2) if merging else len(plain[0]["vectors"]) == most
        )
        for one, other in zip(plain, found, strict=True):
            assert (one["frame_idx"] == other["frame_idx"]).all()
            assert (one["points_xy"] == other["points_xy"]).all()
            np.testing.assert_allclose(one["vectors"], other["vectors"], atol=5e-4)  # a float16

    def test_no_more_frames_are_held_of_a_clip_ten_times_as_long(self, streaming, tmp_path):
        config = TokenConfig(chunk_frames=6, batch_crops=5)  # a frame a batch
        most = []
        for count in (18, 180):
            frames = CountedFrames(count)
            clip_tokens(
                frames, plain_encoder(), config, directory=tmp_path / str(count), num_frames=count
            )
            most.append(frames.most)
        assert AHEAD_OF_GPU <= most[0] <= AHEAD_OF_GPU + 4
        assert most[1] <= AHEAD_OF_GPU + 4

    def test_a_batch_is_taken_while_the_next_one_is_encoded(self, streaming, tmp_path, monkeypatch):
        events, start = [], TokenEncoder.start

        def watched(encoder, ready):
            number = sum(event.startswith("start") for event in events)
            events.append(f"start {number}")
            take = start(encoder, ready)
            return lambda: events.append(f"take {number}") or take()

        monkeypatch.setattr(TokenEncoder, "start", watched)
        frames = FramesInMemory([frame(i) for i in range(4)])
        arrays_of(frames, tmp_path, TokenConfig(chunk_frames=2, batch_crops=5))
        assert events[:5] == ["start 0", "start 1", "take 0", "start 2", "take 1"]
        assert events[-2:] == ["take 2", "take 3"]

    def test_a_frame_that_cannot_be_read_leaves_what_was_made(self, streaming, tmp_path):
        threads = threading.active_count()
        config = TokenConfig(chunk_frames=2, batch_crops=5)
        with pytest.raises(DataError, match="frame 5 is broken"):
            arrays_of(OneThreadFrames(12, broken=5), tmp_path, config)
        assert threading.active_count() == threads
        made = sorted(path.name for path in tmp_path.iterdir())
        assert made == ["000000.safetensors", "000002.safetensors"]
