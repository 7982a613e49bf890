"""Pictures as cameras, editors and accidents leave them; each is made here."""

from __future__ import annotations

import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ren_core.errors import DataError
from tests.vq2d.video.picture_files import (
    BLUE,
    GREY,
    HEIC,
    RED,
    H,
    W,
    alpha,
    cut_out,
    encoded,
    is_scene,
    scene,
    turned_exif,
)
from vq2d.video import pictures
from vq2d.video.pictures import HIDDEN, LEAST_SIDE, LONGER_SIDE, read_picture


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(scene()), kind, **how)
        for kind, how in [
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("JPEG", {"keep_rgb": True}),
            ("PNG", {}),
            ("WEBP", {}),
            ("WEBP", {"lossless": True}),
            ("AVIF", {"quality": 90}),
            ("GIF", {}),
            ("TIFF", {}),
            ("BMP", {}),
            ("JPEG2000", {}),
            ("PPM", {}),
        ]
    ]
    + [
        encoded(Image.fromarray(scene()).quantize(), "PNG"),
        encoded(Image.fromarray(scene()).convert("CMYK"), "JPEG"),  # inverted, as Adobe does
        encoded(Image.fromarray(scene()).convert("CMYK"), "TIFF"),
        encoded(Image.fromarray(scene()).convert("YCbCr"), "TIFF"),
    ],
)
def test_every_kind_has_the_right_colours_and_no_mask(read, data):
    picture = read(data)
    assert is_scene(picture.image)
    assert picture.mask is None
    assert picture.file_size_hw == (H, W)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(read, kind, orientation):
    # the way in which a camera that is held so stores the scene
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](scene())
    image = Image.fromarray(np.ascontiguousarray(stored))
    picture = read(encoded(image, kind, exif=turned_exif(orientation)))
    assert is_scene(picture.image)
    assert picture.file_size_hw == (H, W)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_turns_nothing(read, orientation):
    assert is_scene(
        read(encoded(Image.fromarray(scene()), "PNG", exif=turned_exif(orientation))).image
    )


def test_heic_is_turned_and_its_alpha_is_the_mask(read):
    turned = read(HEIC["turned"], "a.heic")
    assert turned.image.shape == (W, H, 3)
    assert np.abs(turned.image[16, 12].astype(int) - RED).max() < 6
    assert np.abs(turned.image[48, 12].astype(int) - BLUE).max() < 6
    cut = read(HEIC["cut"], "b.jpg")  # whatever it is called
    assert (cut.mask == (alpha() > 0)).all()


def test_heic_without_its_reader_is_one_sentence(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(DataError, match=r"HEIC picture, .* not installed; pip install pi-heif, or"):
        read(HEIC["cut"])


def transparent_kinds():
    grey = Image.fromarray(scene()[..., 0])
    grey.putalpha(Image.fromarray(alpha()))
    indices = np.where(alpha() > 0, 1, 0).astype(np.uint8)
    palette = Image.fromarray(indices)
    palette.putpalette([0, 0, 0, *RED])
    key = scene()
    key[alpha() == 0] = (1, 2, 3)
    deep = np.where(alpha() > 0, 50_000, 7).astype(np.uint16)
    return {
        "RGBA PNG": encoded(cut_out(), "PNG"),
        "RGBA TIFF": encoded(cut_out(), "TIFF"),
        "WebP": encoded(cut_out(), "WEBP"),
        "AVIF": encoded(cut_out(), "AVIF"),
        "LA PNG": encoded(grey, "PNG"),
        "palette PNG": encoded(palette, "PNG", transparency=0),
        "palette PNG, alphas": encoded(palette, "PNG", transparency=bytes([100, 200])),
        "GIF": encoded(palette, "GIF", transparency=0),
        "RGB PNG with a key colour": encoded(Image.fromarray(key), "PNG", transparency=(1, 2, 3)),
        "16 bit grey PNG with a key level": encoded(Image.fromarray(deep), "PNG", transparency=7),
    }


@pytest.mark.parametrize(("kind", "data"), transparent_kinds().items())
def test_the_opaque_part_is_the_mask(read, kind, data):
    picture = read(data)
    assert (picture.mask == (alpha() > 0)).all()
    assert (picture.image[~picture.mask] == HIDDEN).all()
    colours = {"LA PNG": (40,) * 3, "16 bit grey PNG with a key level": (195,) * 3}
    reds = ("palette PNG", "palette PNG, alphas", "GIF")
    expected = RED if kind in reds else colours.get(kind, GREY)
    assert np.abs(picture.image[16, 20].astype(int) - expected).max() <= 8


def test_faint_is_transparent_and_a_picture_opaque_everywhere_has_no_mask(read):
    values = np.full((H, W), 255, np.uint8)
    image = np.dstack([scene(), values])
    assert read(encoded(Image.fromarray(image), "PNG")).mask is None
    image[..., 3] = 128
    assert read(encoded(Image.fromarray(image), "PNG")).mask is None
    image[:20, :, 3] = 127
    mask = read(encoded(Image.fromarray(image), "PNG")).mask
    assert not mask[:20].any()
    assert mask[20:].all()


def test_sixteen_bits_are_scaled(read):
    ramp = np.tile(np.linspace(0, 65535, W).astype(np.uint16), (H, 1))
    expected = ramp >> 8
    for kind in ("PNG", "TIFF"):
        image = read(encoded(Image.fromarray(ramp), kind)).image
        assert (image == expected[..., None]).all()
    deep = scene().astype(np.uint16)[..., ::-1] * 257
    for kind in (".png", ".tiff"):
        assert is_scene(read(cv2.imencode(kind, deep)[1].tobytes()).image, 0)


def test_floats_are_grey_from_0_to_1(read):
    ramp = np.tile(np.linspace(0, 1, W, dtype=np.float32), (H, 1))
    image = read(encoded(Image.fromarray(ramp), "TIFF")).image
    assert (image[0, 0, 0], image[0, -1, 0]) == (0, 255)
    for wrong in (ramp * 70_000, ramp - 0.5, ramp * np.float32(np.nan)):
        with pytest.raises(DataError, match=r"holds grey levels of .* only 8 bits, 16 bits and"):
            read(encoded(Image.fromarray(wrong), "TIFF"))


SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
)
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
ADOBE_RGB = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
GAMMA = 563 / 256


def profile(to_xyz=None):
    """An ICC profile of a gamma of 2.2 and primaries (columns XYZ at D50); None: of grey."""

    def xyz(values):
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH2x", 1, round(GAMMA * 256))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text + b"\0", b"wtpt": xyz((0.9642, 1, 0.8249))}
    if to_xyz is None:
        tags[b"kTRC"] = curve
    else:
        for i, name in enumerate(b"rgb"):
            tags[bytes([name]) + b"XYZ"] = xyz(to_xyz[:, i])
            tags[bytes([name]) + b"TRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    space = b"GRAY" if to_xyz is None else b"RGB "
    head = struct.pack(
        ">I4sI4s4s4s",
        132 - 4 + len(table) + len(body),
        b"lcms",
        0x02100000,
        b"mntr",
        space,
        b"XYZ ",
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def in_srgb(colour, to_xyz):
    linear = np.linalg.solve(SRGB, to_xyz @ (np.array(colour) / 255) ** GAMMA).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("to_xyz", [DISPLAY_P3, ADOBE_RGB])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_colour_profile_is_obeyed(read, kind, to_xyz):
    colour = (180, 120, 80)
    image = Image.new("RGB", (32, 32), colour)
    seen = read(encoded(image, kind, icc_profile=profile(to_xyz))).image[16, 16]
    expected = in_srgb(colour, to_xyz)
    assert np.abs(expected - colour).max() > 8
    assert np.abs(seen - expected).max() < 4
    translucent = Image.new("RGBA", (32, 32), (*colour, 255))
    translucent.putpixel((0, 0), (0, 0, 0, 0))
    if kind in ("PNG", "TIFF"):
        picture = read(encoded(translucent, kind, icc_profile=profile(to_xyz)))
        assert np.abs(picture.image[16, 16] - expected).max() < 4
        assert picture.mask.sum() == 32 * 32 - 1


def test_grey_obeys_profiles_of_grey_and_of_colours(read):
    expected = in_srgb((100, 100, 100), SRGB)
    for icc in (profile(), profile(SRGB)):
        image = read(encoded(Image.new("L", (32, 32), 100), "PNG", icc_profile=icc)).image
        assert np.abs(image[16, 16] - expected).max() < 3


@pytest.mark.parametrize("icc", [b"no profile", profile()])
def test_a_profile_that_does_not_fit_is_left_aside_with_a_word(read, icc, caplog):
    data = encoded(Image.fromarray(scene()), "PNG", icc_profile=icc)
    assert is_scene(read(data).image)
    assert "its colour profile is left aside" in caplog.text


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_of_several_pictures_is_taken_and_said(read, kind, caplog):
    others = [Image.fromarray(255 - scene())]
    data = encoded(Image.fromarray(scene()), kind, save_all=True, append_images=others)
    assert is_scene(read(data).image)
    assert "holds several pictures; the first one is taken" in caplog.text


def test_the_second_picture_of_a_phone_is_no_news(read, caplog):
    others = [Image.fromarray(255 - scene())]
    data = encoded(Image.fromarray(scene()), "MPO", save_all=True, append_images=others)
    assert is_scene(read(data).image)
    assert is_scene(read(encoded(Image.fromarray(scene()), "JPEG") + b"a film" * 999).image)
    assert not caplog.records


def test_what_is_no_file_with_something_in_it_is_one_sentence(tmp_path, read):
    with pytest.raises(DataError, match="is a folder; give the file of a picture in it"):
        read_picture(tmp_path)
    with pytest.raises(DataError, match=r"there is no file .*nothing\.jpg; give the path of a pic"):
        read_picture(tmp_path / "nothing.jpg")
    with pytest.raises(DataError, match=r"is empty \(0 bytes\); give another picture"):
        read(b"")
    with pytest.raises(DataError, match="is no picture of a kind that is read, or its beginning"):
        read(b"These are my keys.\n" * 9)


def test_transparent_everywhere_is_one_sentence(read):
    image = np.dstack([scene(), np.full((H, W), 127, np.uint8)])
    with pytest.raises(DataError, match="is transparent everywhere and shows nothing; give"):
        read(encoded(Image.fromarray(image), "PNG"))


def test_large_pictures_are_shrunk_and_boxes_with_them(read):
    image = cut_out().resize((4096, 3072), Image.Resampling.NEAREST)
    picture = read(encoded(image, "PNG", exif=turned_exif(8), compress_level=1))
    assert picture.image.shape == (LONGER_SIDE, 1536, 3)
    assert picture.mask.sum() == 1536 * LONGER_SIDE // 4
    assert picture.file_size_hw == (4096, 3072)
    box = picture.from_file_pixels(np.array([100, 200, 300, 400], np.float32))
    assert box.tolist() == [50, 100, 150, 200]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (LEAST_SIDE - 1, 40), (5000, LEAST_SIDE)])
def test_too_few_pixels_are_one_sentence(read, size):
    with pytest.raises(DataError, match=f"has {size[0]}x{size[1]} pixels, too few to show an obj"):
        read(encoded(Image.new("RGB", size), "PNG"))
    read(encoded(Image.new("RGB", (LEAST_SIDE, 10)), "PNG"))


def test_too_many_pixels_are_one_sentence(read, monkeypatch):
    header = b"IHDR" + struct.pack(">2I5B", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))
    bomb += encoded(Image.new("RGB", (9, 9)), "PNG")[33:]
    with pytest.raises(DataError, match="has more than the 178956970 pixels that are read; shrink"):
        read(bomb)
    monkeypatch.setattr(pictures, "MOST_PIXELS", H * W - 1)
    with pytest.raises(DataError, match="more than the 3071 pixels"):
        read(HEIC["cut"])


def test_exhausted_memory_and_permissions_are_no_damage(read, monkeypatch):
    data = encoded(Image.fromarray(scene()), "PNG")

    def fail(*_):
        raise fault

    monkeypatch.setattr(pictures, "_read", fail)
    fault = MemoryError()
    with pytest.raises(MemoryError):
        read(data)
    fault = PermissionError(13, "Permission denied")
    with pytest.raises(DataError, match="may not be read; change its permissions, or give"):
        read(data)
