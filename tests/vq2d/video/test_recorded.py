"""When a recording began, as cameras and phones write it."""

from __future__ import annotations

import av
import pytest

from tests.synthetic import numbered_frame, write_video
from vq2d.video.frames import open_video
from vq2d.video.recorded import recording_time

APPLE = "com.apple.quicktime.creationdate"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"creation_time": "2026-11-20T17:03:00.000000Z"}, "2026-11-20T17:03:00+00:00"),
        (
            {"creation_time": "2026-11-20T17:03:00Z", APPLE: "2026-11-20T18:03:00+0100"},
            "2026-11-20T18:03:00+01:00",
        ),
        ({APPLE: "yesterday", "creation_time": "2026-11-20 17:03:00"}, "2026-11-20T17:03:00+00:00"),
        ({"creation_time": "1904-01-01T00:00:00.000000Z"}, None),
        ({"creation_time": "1970-01-01T00:00:00Z"}, None),
        ({"creation_time": ""}, None),
        ({}, None),
    ],
)
def test_the_time_of_a_recording(metadata, expected):
    found = recording_time(metadata)
    assert (None if found is None else found.isoformat()) == expected


def test_it_is_read_from_the_file(tmp_path):
    plain = write_video(tmp_path / "plain.mp4", [numbered_frame(i) for i in range(5)])
    assert open_video(plain).timeline.recorded_at is None
    dated = tmp_path / "dated.mp4"
    with av.open(str(plain)) as source, av.open(str(dated), "w") as target:
        target.metadata["creation_time"] = "2026-11-20T17:03:00Z"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    found = open_video(dated).timeline.recorded_at
    assert found is not None
    assert found.isoformat() == "2026-11-20T17:03:00+00:00"
