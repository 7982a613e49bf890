"""Video reading: the right frame, in every order, from every kind of file."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ren_core.errors import ConfigError, DataError
from tests.synthetic import TICKS, frame_number, numbered_frame, write_numbered, write_video
from vq2d.video import frames as frames_module
from vq2d.video import index, readers
from vq2d.video.frames import VideoFrames, open_video
from vq2d.video.index import read_timeline
from vq2d.video.orientation import Orientation
from vq2d.video.readers import DecordReader
from vq2d.video.timeline import Timeline, exact_rate, select_frames

NTSC = Fraction(30000, 1001)


def make_timeline(pts, time_base=Fraction(1, 1000)) -> Timeline:
    pts = np.array(pts, np.int64)
    rate = exact_rate(pts, time_base)
    return Timeline(Path("x"), pts, (0,), time_base, rate, (2, 2), Orientation(), "h264", "yuv420p")


def on_screen(times, t):
    """Reference: the last frame shown at or before t, counted from the first frame."""
    return max(n for n, time in enumerate(times) if time - times[0] <= t)


def wandering(n: int, rng: np.random.Generator) -> list[Fraction]:
    """Presentation times of a phone: about 30 fps, some frames late, some dropped."""
    steps = rng.choice([1 / 30, 1 / 24, 1 / 60, 0.1, 0.5], n, p=[0.6, 0.2, 0.1, 0.08, 0.02])
    return [Fraction(round(t * TICKS), TICKS) for t in np.cumsum(steps) - steps[0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def files(folder) -> dict[str, tuple[Path, list[int]]]:
    """Files by kind, each with the numbers that its 5-fps frames must carry."""
    times = wandering(300, np.random.default_rng(1))
    ntsc = [Fraction(n * 1001, 30000) for n in range(300)]
    by_time = {
        "ntsc": (write_numbered(folder / "ntsc.mp4", 300, NTSC), ntsc),
        "vfr": (write_numbered(folder / "vfr.mp4", 300, times=times), times),
        "24": (write_numbered(folder / "24.mkv", 150, 24), [Fraction(n, 24) for n in range(150)]),
    }
    cases = {
        kind: (path, [on_screen(t, Fraction(i, 5)) for i in range(int(t[-1] * 5) + 1)])
        for kind, (path, t) in by_time.items()
    }
    cases["5"] = (write_numbered(folder / "5.mp4", 140, 5, keyint=250), list(range(140)))
    cases["30"] = (write_numbered(folder / "30.mp4", 601, 30), list(range(0, 601, 6)))
    cases["30mkv"] = (write_numbered(folder / "30.mkv", 200, 30), list(range(0, 200, 6)))
    vp9 = write_numbered(folder / "vp9.mp4", 100, 30, codec="libvpx-vp9")
    cases["vp9"] = (vp9, list(range(0, 100, 6)))
    return cases


@pytest.fixture(scope="module")
def long_file(folder) -> Path:
    """132 MiB of RGB pixels."""
    images = (numbered_frame(n, (240, 320)) for n in range(600))
    return write_video(folder / "long.mp4", images, 5)


KINDS = ["5", "30", "30mkv", "ntsc", "vfr", "24", "vp9"]
FOR_DECORD = ["5", "30", "vp9"]


@pytest.mark.parametrize(
    ("kind", "reader"),
    [(kind, "av") for kind in KINDS] + [(kind, "decord") for kind in FOR_DECORD],
)
def test_every_order_gives_the_right_frames(files, kind, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    path, expected = files[kind]
    frames = open_video(path, reader=reader)
    n = len(frames)
    assert [frame_number(image) for image in frames] == expected
    assert [frame_number(frames[i]) for i in reversed(range(n))] == expected[::-1]
    order = np.random.default_rng(2).permutation(n)[:40]
    assert [frame_number(frames[int(i)]) for i in order] == [expected[i] for i in order]
    middle = list(range(n // 2, n)) + list(range(n // 2, -1, -1))  # track both ways from a frame
    assert [frame_number(frames[i]) for i in middle] == [expected[i] for i in middle]


@pytest.mark.parametrize("kind", FOR_DECORD)
def test_decord_and_pyav_give_the_same_bytes(files, kind):
    pytest.importorskip("decord")
    chosen, plain = (open_video(files[kind][0], reader=name) for name in ("decord", "av"))
    assert isinstance(chosen._decoders[0].reader, DecordReader)
    assert not isinstance(plain._decoders[0].reader, DecordReader)
    assert all(np.array_equal(a, b) for a, b in zip(chosen, plain, strict=True))


def test_decord_is_for_upright_mp4_of_constant_rate_only(files):
    pytest.importorskip("decord")
    for kind in set(KINDS) - set(FOR_DECORD):
        with pytest.raises(ConfigError, match=r"is not for decord.*\(--reader av\)"):
            open_video(files[kind][0], reader="decord")


@pytest.mark.parametrize("kind", ["5", "30", "30mkv", "ntsc", "vp9"])
def test_header_index_equals_the_packets(files, kind):
    timeline = read_timeline(files[kind][0])
    found = index._packet_index(files[kind][0], 0)
    assert timeline.pts.tolist() == found.pts.tolist()
    assert timeline.keys == found.keys
    assert found.missing == timeline.missing == 0


@given(st.lists(st.integers(1, 700), min_size=1, max_size=60), st.sampled_from([1, 5, 7, 30]))
def test_frames_are_the_last_at_or_before_their_time(gaps, fps):
    pts = np.cumsum([17, *gaps])
    timeline = make_timeline(pts)
    numbers = select_frames(timeline, Fraction(fps))
    if timeline.rate is None:
        shown = [Fraction(int(p), 1000) for p in pts]
        assert numbers.tolist() == [on_screen(shown, Fraction(i, fps)) for i in range(len(numbers))]
        assert Fraction(len(numbers), fps) > shown[-1] - shown[0]


@given(st.integers(1, 5000), st.integers(0, 900))
def test_thirty_and_five_fps_are_counted(count, start):
    thirty = make_timeline(np.round(np.arange(count) * 1000 / 30))
    five = make_timeline(np.arange(count) * 200)
    assert thirty.rate == 30 or count == 1
    assert select_frames(five, Fraction(5)).tolist() == list(range(count))
    if thirty.rate == 30:
        cut = select_frames(thirty, Fraction(5), start=Fraction(start, 30), count=20)
        assert cut.tolist() == list(range(start, count, 6))[:20]


def test_ntsc_is_never_taken_for_thirty():
    pts = np.round(np.arange(40) * 1001 / 30000 * 1000)
    assert make_timeline(pts).rate is None
    assert make_timeline(np.arange(100), Fraction(1001, 30000)).rate is None


def test_other_output_rates(files):
    assert [frame_number(f) for f in open_video(files["30"][0], 10)] == list(range(0, 601, 3))
    repeated = [frame_number(f) for f in open_video(files["5"][0], 10.0)]
    assert repeated == [n // 2 for n in range(279)]
    with pytest.raises(ConfigError, match="fps must be positive"):
        open_video(files["5"][0], 0)


def test_rotation_is_respected(folder):
    upright = [numbered_frame(n) for n in range(12)]
    turned = [np.rot90(image, 1) for image in upright]  # stored on its side
    path = write_video(folder / "turned.mp4", turned, 5, rotation=-90)
    frames = open_video(path)
    assert frames.size_hw == (64, 128) == frames[0].shape[:2]
    assert [frame_number(image) for image in frames] == list(range(12))
    half = [np.rot90(image, 2) for image in upright]
    flipped = open_video(write_video(folder / "half.mp4", half, 5, rotation=180))
    assert flipped.size_hw == (64, 128)
    assert [frame_number(image) for image in flipped] == list(range(12))


def test_bad_files_are_named(tmp_path, files):
    whole = files["30"][0].read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("cut.mp4", "text.mp4", "empty.mp4"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as video .*download"):
            open_video(tmp_path / name)
    with pytest.raises(DataError, match=r"gone\.mp4 is missing"):
        open_video(tmp_path / "gone.mp4")


def test_truncated_file_with_its_header_in_front(tmp_path, files, caplog):
    whole = files["30"][0].read_bytes()
    at = whole.index(b"mdat") - 4
    length = int.from_bytes(whole[at : at + 4], "big")
    head, data, moov = whole[:at], whole[at : at + length], whole[at + length :]
    shift = len(moov)
    table = moov.index(b"stco") + 8
    for k in range(int.from_bytes(moov[table : table + 4], "big")):
        place = slice(table + 4 + 4 * k, table + 8 + 4 * k)
        moved = int.from_bytes(moov[place], "big") + shift
        moov = moov[: place.start] + moved.to_bytes(4, "big") + moov[place.stop :]
    path = tmp_path / "front.mp4"
    path.write_bytes(head + moov + data)
    assert frame_number(open_video(path)[-1 + 101]) == 600
    path.write_bytes((head + moov + data)[: -len(data) // 2])
    frames = open_video(path)
    assert frames.timeline.missing > 100
    assert "it holds only" in caplog.text
    numbers = [frame_number(image) for image in frames]
    assert numbers == list(range(0, 6 * len(numbers), 6)) or frames.held
    good = [i for i in range(len(frames)) if i not in frames.held]
    assert [numbers[i] for i in good] == [6 * i for i in good]


def test_damage_in_the_middle_holds_the_last_good_frame(tmp_path, files):
    content = bytearray(files["5"][0].read_bytes())
    at, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    third = (end - at) // 3
    content[at + third : at + 2 * third] = bytes(third)
    path = tmp_path / "holes.mp4"
    path.write_bytes(content)
    frames = open_video(path)
    numbers = [frame_number(image) for image in frames]
    good = [i for i in range(140) if i not in frames.held]
    assert 20 < len(frames.held) < 120
    assert [numbers[i] for i in good] == good
    assert all(numbers[i] == max(k for k in good if k < i) for i in frames.held)
    backwards = open_video(path)
    assert [frame_number(backwards[i]) for i in reversed(range(140))] == numbers[::-1]
    assert backwards.held == frames.held


def test_decord_that_fails_says_what_to_do(files, monkeypatch):
    pytest.importorskip("decord")

    def fail(_path):
        raise RuntimeError("no")

    monkeypatch.setattr(readers.decord, "VideoReader", fail)
    with pytest.raises(DataError, match=r"decord cannot read .*\(--reader av\)"):
        open_video(files["5"][0], reader="decord")[0]


def test_works_without_decord(files, monkeypatch):
    monkeypatch.setattr(readers, "decord", None)
    assert [frame_number(f) for f in open_video(files["5"][0])] == files["5"][1]
    with pytest.raises(ConfigError, match="decord is not installed"):
        open_video(files["5"][0], reader="decord")


def test_outside_is_an_index_error(files):
    frames = open_video(files["5"][0])
    for i in (-1, len(frames)):
        with pytest.raises(IndexError, match="it has 140 frames"):
            frames[i]


def test_cached_frames_cannot_be_overwritten(files):
    with pytest.raises(ValueError, match="read-only"):
        open_video(files["5"][0])[3][:] = 0


def test_fingerprint_follows_content_and_mapping(files, folder):
    five = open_video(files["5"][0])
    assert five.fingerprint != open_video(files["5"][0], 2.5).fingerprint
    assert five.fingerprint != open_video(files["30"][0]).fingerprint


@pytest.fixture
def counted(monkeypatch):
    """Frames of a file whose decoders count what they decode from keyframe to target."""
    real = frames_module.open_reader

    def open_counted(path, **settings):
        timeline, seen = read_timeline(path), []

        class Counting:
            def __init__(self, *args):
                self.reader, self.at = real(*args), None

            def read(self, numbers):
                key = max(k for k in timeline.keys if k <= numbers[0])
                goes_on = self.at is not None and key <= self.at < numbers[0]
                seen.append(numbers[-1] - (self.at if goes_on else key - 1))
                self.at = numbers[-1]
                return self.reader.read(numbers)

        monkeypatch.setattr(frames_module, "open_reader", Counting)
        numbers = select_frames(timeline, Fraction(5))
        return VideoFrames(timeline, numbers, **settings), seen

    return open_counted


@pytest.mark.parametrize(("cache_bytes", "most"), [(256 << 20, 650), (10 * 64 * 128 * 3, 1300)])
def test_a_backward_pass_decodes_little_twice(files, counted, cache_bytes, most):
    frames, decoded = counted(files["30"][0], cache_bytes=cache_bytes)
    for i in reversed(range(len(frames))):
        frames[i]
    assert sum(decoded) <= most
    assert len(frames._cache) <= max(4, cache_bytes // (64 * 128 * 3))


@pytest.mark.parametrize(("stride", "most"), [(1, 560), (2, 480)])
def test_two_passes_in_step_decode_little_twice(files, counted, stride, most):
    frames, decoded = counted(files["30"][0])
    middle = len(frames) // 2
    frames[middle]
    for away in range(stride, middle, stride):
        for i in (middle + away, middle - away):
            frames[i]
    assert sum(decoded) <= most  # 582 and 558 with one decoder
    assert len(frames._decoders) == 2


def resident() -> float:
    """Memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth_while_reading(file: Path, reader: str) -> float:
    """MiB that both ways through a file add to what its first 130 frames take."""
    frames = open_video(file, reader=reader)
    for i in range(130):
        frames[i]
    early, most = resident(), 0.0
    for i in [*range(130, 600), *reversed(range(600))]:
        frames[i]
        most = max(most, resident()) if i % 7 == 0 else most
    return most - early


def growth_while_idle(file: Path) -> float:
    """MiB that half a second without a read adds."""
    frames = open_video(file, reader="decord")  # one that is kept grows by 80 MiB here
    frames[0]
    before = resident()
    time.sleep(0.5)
    return resident() - before


@pytest.fixture(scope="module")
def alone():
    """Calls a function in a process of its own, where no other test's memory comes and goes."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


@pytest.mark.parametrize("reader", ["av", "decord"])
def test_memory_stays_bounded(alone, long_file, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    assert alone(growth_while_reading, long_file, reader) < 40


def test_an_idle_reader_does_not_decode_ahead(alone, long_file):
    pytest.importorskip("decord")
    assert alone(growth_while_idle, long_file) < 20
