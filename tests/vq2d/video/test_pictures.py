"""Pictures as cameras, editors and accidents leave them; each is made here."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from base64 import b85decode
from types import MappingProxyType

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ren_core.errors import DataError
from vq2d.video import pictures
from vq2d.video.pictures import HIDDEN, LEAST_SIDE, LONGER_SIDE, read_picture

RED, BLUE, GREY = (200, 30, 30), (30, 30, 200), (40, 40, 40)
H, W = 48, 64

# 64 x 48 pixels from libheif's HEVC encoder: turned by 90 degrees; with an alpha channel
HEIC = MappingProxyType(
    {
        "turned": zlib.decompress(
            b85decode(
                "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>Uf$>CcYDppk1Sn>t<P<^K3<a6VB@Af5Br_);Y>0~k0}}%yh{gB@LIXiF"
                "Pz(r|^5G&XKx~njnU@CUfn-I2oK&zfpqh-bWJ3ldK}L`g*NRNAa=wDhl3WI;N=Ej~f}#Q-`&ni|az2nQ1L}2VWCjUM"
                "04tLF!0_kqj~@&S{LBeJ9TE<VJdFSUgA_1>R4{{(+%6`EM4+UW6C)#<%mRf*)@iSvEZez*Bf~%eD8vjR7!;F$%Gq2P"
                "4;CNj1X?1ToS##amz+}p6y;@LYXAy~WEK~sLcQw%#Tv;ui3LzLC@2h|G&m6c|Ns918W;ivnH8BJL1qpP4j{#uS(IM_"
                "bPt1MW<f42QWzN+*&3OcSzFqG9I4Er)HJ9BUvf%uGB_GQX0OjpNd(1Ly$0iY&IigHUH1QPuZflLInyeBQv3gh!<*h|"
                "P1n)e{d(_{3oJ@(ALjX-{I_|9fw$bX?32Nkr3-W07hXC0$htmc%O|nabqC|ZzpZd-?}?0O36(3)7d>GxYq#9P$~o6B"
                "G90i8e97Bid8APB{kiXM?H^}H`|s!c6aS!aTD1C|#XAImPGEyXp|3B47Ldomz{n^B3T048LR=02Gqjg-"
            )
        ),
        "cut": zlib.decompress(
            b85decode(
                "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfhjvTwIq=N0u(b+a*CjAhJwuG5(YG2l9`haHpIn&fr)_;#A51)&_K`("
                "6axZgA-G5d5L;ws=B0soAX!l$Cl#y=s3xN<*^mK6kO?8kSCCnf%K%l$xGJ-tr~pVeWfmmo1I5aK%A6UQfkF%uz>4HP"
                "F#P%Z;|Bu+KXU?5hlB$o599y;AO*}I70e(cw~NUk5h$tU#K?#yvp}Jdb=s>Z%XaSI$S_a<3NeES2E`<xayA#ngT)6r"
                "ftCm-=jRmVCFfKCMR^(68h}C~nZ*UEQ13cGu|{%EVgZy53JL=#4ff&x|NlQg14E!7vmz55WE>nEpdbf(iUq`+{{!Z!"
                "KL}5WLp%jizzkLabUVyXsz5)XN*rin5sO|uY1Xp?KzH&qfCO7my~78ypAlrGdSYpXGl*AOlxLM&keY6lky@5)Wn^Gz"
                "Y6X<aOtAvTi$Z2WE-b+S(*SED6EkZI0~2c-GkZr1P)sVbC^Zc#&j-|(15PQRIAqRENdzUSdJV?)oDY;Yy6peoUK1<f"
                "bEZ}Nr1t+0hc~^`ny#a_`}N)@7g&_oKFsqu`ET<I18=!&*(ZZ7OBd$0FT8U0k#&8@mQP}->kh_+e_P?w-V+(m5-L}o"
                "FM7gY)^53nm2<9NWH?|G_>#B3@<^fL`*Yvj+CR>Y_TSI>C;ma<v}pA^i+2bBolv5|xK8-M!*!jf|Nrr~?+l-EZvX86"
                "3CkBu{`ZLgqHwLvB2kA24{{ASMBnLqutjjZ3E`ZlD!cBlg+D_@(PiIBY?ja1C9XaR*=2F%-J&OH8lqMS?j{dU?3vW;"
                "uC_FHc8dXn?CdY=T)$*?f7n>}`_&DpcdP*|2LL`Q^Wp"
            )
        ),
    }
)


def scene():
    """Red lower left, blue lower right, dark above."""
    image = np.full((H, W, 3), GREY, np.uint8)
    image[H // 2 :, : W // 2] = RED
    image[H // 2 :, W // 2 :] = BLUE
    return image


def alpha():
    """Opaque in the middle."""
    values = np.zeros((H, W), np.uint8)
    values[12:36, 16:48] = 255
    return values


def photo():
    """Soft and different everywhere: what is missing or repeated of it is seen."""
    noise = np.random.default_rng(0).integers(0, 256, (H // 8, W // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((W, H), Image.Resampling.BICUBIC))


def cut_out(image=None):
    return Image.fromarray(np.dstack([scene() if image is None else image, alpha()]))


def encoded(image, kind, **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def turned_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def read(tmp_path):
    """Reads the bytes of a file of some name."""

    def call(data, name="picture.jpg"):
        (tmp_path / name).write_bytes(data)
        return read_picture(tmp_path / name)

    return call


def is_scene(image, tolerance=6):
    spots = {(12, 16): GREY, (12, 48): GREY, (36, 16): RED, (36, 48): BLUE}
    near = [
        np.abs(image[at].astype(int) - colour).max() <= tolerance for at, colour in spots.items()
    ]
    return image.shape == (H, W, 3) and image.dtype == np.uint8 and all(near)


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


@pytest.mark.parametrize("kind", [kind for kind in FILES if "JPEG" in kind])
@ANYWHERE
@given(share=st.floats(0.1, 0.9))
def test_a_jpeg_whose_scan_ends_early_is_refused(read, kind, share):
    data = bytearray(FILES[kind])
    start = data.index(b"\xff\xda") + 14
    at = start + int(share * (len(data) - start))
    data[at : at + 2] = b"\xff\xd9"  # end of image, followed by what it cuts off
    picture = read_or_refuse(read, bytes(data))
    if picture is not None:
        assert "progressive" in kind  # all of it is there, less sharp
        difference = np.abs(picture.image.astype(int) - read(FILES[kind]).image)
        assert difference.mean(axis=(1, 2)).max() < 25


def test_damage_is_said_in_one_sentence(read):
    data = FILES["JPEG"]
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    with pytest.raises(DataError, match="is a damaged picture: image file is truncated"):
        read(data[:middle])
    early = data[:middle] + b"\xff\xd9" + data[middle:]
    with pytest.raises(DataError, match="damaged picture: its data break off or are wrong on the"):
        read(early)
