"""Damaged picture files: refused in one sentence, or as good as whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ren_core.errors import DataError
from tests.vq2d.video.picture_files import (
    HEIC,
    cut_out,
    encoded,
    photo,
    turned_exif,
)

FILES = {
    "JPEG": encoded(Image.fromarray(photo()), "JPEG", exif=turned_exif(3)),
    "progressive JPEG": encoded(Image.fromarray(photo()), "JPEG", progressive=True),
    "CMYK JPEG": encoded(Image.fromarray(photo()).convert("CMYK"), "JPEG"),
    "PNG": encoded(cut_out(photo()), "PNG"),
    "palette PNG": encoded(Image.fromarray(photo()).quantize(), "PNG"),
    "WebP": encoded(Image.fromarray(photo()), "WEBP"),
    "lossless WebP": encoded(cut_out(photo()), "WEBP", lossless=True),
    "GIF": encoded(Image.fromarray(photo()), "GIF"),
    "TIFF": encoded(Image.fromarray(photo()), "TIFF"),
    "BMP": encoded(Image.fromarray(photo()), "BMP"),
    "AVIF": encoded(cut_out(photo()), "AVIF"),
    "HEIC": HEIC["cut"],
}


def read_or_refuse(read, data):
    """The picture; None if it is refused, which takes one line."""
    try:
        return read(data)
    except DataError as err:
        message = str(err)
    assert "\n" not in message
    return None


ANYWHERE = settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("kind", FILES)
@ANYWHERE
@given(share=st.floats(0, 1), missing=st.integers(0, 40))
def test_a_file_cut_short_is_refused_or_shows_all(read, kind, share, missing):
    data = FILES[kind]
    end = len(data) - missing if missing else int(share * len(data))
    picture = read_or_refuse(read, data[:end])
    if picture is not None:  # only what ends the file is missing
        whole = read(data)
        assert (picture.image == whole.image).all()
        assert (picture.mask is None) == (whole.mask is None)


@pytest.mark.parametrize("kind", FILES)
@ANYWHERE
@given(
    where=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4
    )
)
def test_wrong_bytes_are_refused_or_give_a_picture(read, kind, where):
    data = bytearray(FILES[kind])
    for share, change in where:
        data[int(share * len(data))] ^= change
    picture = read_or_refuse(read, bytes(data))
    if picture is None:
        return
    assert picture.image.dtype == np.uint8
    assert picture.image.shape[2] == 3
    assert picture.mask is None or picture.mask.shape == picture.image.shape[:2]
    if "PNG" in kind:  # which has checksums of all that counts
        assert (picture.image == read(FILES[kind]).image).all()


@ANYWHERE
@given(share=st.floats(0.1, 0.9))
def test_a_jpeg_whose_scan_ends_early_is_refused(read, share):
    data = bytearray(FILES["JPEG"])  # a progressive one may end between two scans, less sharp
    start = data.index(b"\xff\xda") + 14
    at = start + int(share * (len(data) - start))
    data[at : at + 2] = b"\xff\xd9"  # end of image, followed by what it cuts off
    assert read_or_refuse(read, bytes(data)) is None


def test_damage_is_said_in_one_sentence(read):
    data = FILES["JPEG"]
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    with pytest.raises(DataError, match="is a damaged picture: image file is truncated"):
        read(data[:middle])
    early = data[:middle] + b"\xff\xd9" + data[middle:]
    with pytest.raises(DataError, match="damaged picture: its data break off or are wrong on the"):
        read(early)
