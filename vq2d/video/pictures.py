"""Pictures of an object from any camera or editor: upright, in sRGB, with their opaque part."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import ExifTags, ImageCms, UnidentifiedImageError
from PIL import Image as PillowImage
from PIL.Image import DecompressionBombError, Resampling, Transpose
from PIL.ImageFile import ImageFile as PillowFile

from ren_core.errors import DataError
from ren_core.geometry import Boxes, Mask
from ren_core.images import Image

LONGER_SIDE = 2048
"""Longer side, in pixels, to which larger pictures are shrunk."""
LEAST_SIDE = 8
"""Shorter side, in pixels, below which nothing can be recognised."""
MOST_PIXELS = 178_956_970
"""Larger pictures are not opened: Pillow's own limit, at which it suspects an attack."""
OPAQUE = 128
"""Least alpha of what belongs to the object."""
HIDDEN = 128
"""Grey level of what does not: the colours that a file keeps there are anybody's guess."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM")
HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
ORIENTATION = ExifTags.Base.Orientation
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright."""
ADVICE = "give another picture of the object, such as a JPEG or PNG"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of an object.

    Attributes:
        image: (H, W, 3) RGB in sRGB, upright, at most ``LONGER_SIDE`` pixels high and wide; grey
            where ``mask`` is false.
        mask: (H, W) true where the picture is opaque; None where it is opaque everywhere.
        file_size_hw: Height and width of the upright picture in the file, before it was shrunk.
    """

    image: Image
    mask: Mask | None
    file_size_hw: tuple[int, int]

    def from_file_pixels(self, box_xyxy: Boxes) -> Boxes:
        """A box (4,) in pixels of the file's upright picture, in pixels of ``image``."""
        y, x = np.array(self.image.shape[:2]) / self.file_size_hw
        return (box_xyxy * np.array([x, y, x, y])).astype(np.float32)


def read_picture(path: Path) -> Picture:
    """The picture of a file as a person sees it: JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF, BMP.

    It is turned as EXIF says and brought to sRGB by its colour profile; 16 bits become 8. Of
    several pictures the first is taken. A longer side of more than 2048 pixels is shrunk to that.

    Raises:
        DataError: If the file is missing, no picture, damaged (also if only a part of it is
            there), too large, too small or transparent everywhere.
    """
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures and odd EXIF; a damage raises
            return _read(path)
    except (DataError, MemoryError):
        raise
    except PermissionError as err:
        raise DataError(f"{path} may not be read; change its permissions, or {ADVICE}") from err
    except UnidentifiedImageError as err:
        raise DataError(
            f"{path} is no picture of a kind that is read, or its beginning is damaged; {ADVICE}"
        ) from err
    except DecompressionBombError as err:
        raise DataError(
            f"{path} has more than the {MOST_PIXELS} pixels that are read; shrink it first"
        ) from err
    except Exception as err:  # what decoders raise for damaged files has no common type
        what = " ".join(str(err).split()) or type(err).__name__
        raise DataError(f"{path} is a damaged picture: {what}; {ADVICE}") from err


def _check_file(path: Path) -> None:
    """Refuse what is no file, or an empty one."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the file of a picture in it")
    if not path.is_file():
        raise DataError(f"there is no file {path}; give the path of a picture of the object")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); {ADVICE}")


def _read(path: Path) -> Picture:
    """See ``read_picture``; raises whatever the decoder does."""
    with _opened(path) as opened:
        if opened.width * opened.height > MOST_PIXELS:  # HEIC; Pillow looks at the others
            raise DecompressionBombError
        if getattr(opened, "is_animated", False) and opened.format != "MPO":
            logger.warning("%s holds several pictures; the first one is taken", path)
        opened.load()
        _check_whole(path, opened.format)
        turn = TURNS.get(opened.getexif().get(ORIENTATION, 1))
        profile = opened.info.get("icc_profile")
        plain = _eight_bits(opened, path)
    upright = plain if turn is None else plain.transpose(turn)
    small = _shrunk(upright)
    if min(small.size) < LEAST_SIDE:
        raise DataError(
            f"{path} has {upright.width}x{upright.height} pixels, too few to show an object "
            f"(at least {LEAST_SIDE} each way once the longer side is at most {LONGER_SIDE}); "
            f"{ADVICE}"
        )
    mask = _opaque_part(small, path)
    image = np.array(_in_srgb(small, profile, path))
    if mask is not None:
        image[~mask] = HIDDEN
    return Picture(image, mask, (upright.height, upright.width))


def _opened(path: Path) -> PillowFile:
    """The file, its pixels not yet decoded."""
    with path.open("rb") as file:
        start = file.read(256)
    # a box of 4 bytes length, "ftyp", main brand, version, compatible brands
    brands = start[8 : min(int.from_bytes(start[:4], "big"), 256)]
    kinds = {brands[i : i + 4] for i in range(0, len(brands), 4) if i != 4}
    if start[4:8] != b"ftyp" or not kinds & HEVC_BRANDS:
        return PillowImage.open(path, formats=FORMATS)
    try:
        from pi_heif import HeifImageFile  # optional: its libraries are under the LGPL
    except ImportError as err:
        raise DataError(
            f"{path} is a HEIC picture, and what reads those is not installed; "
            "pip install pi-heif, or save the picture as JPEG"
        ) from err
    opened: PillowFile = HeifImageFile(path)
    return opened


def _check_whole(path: Path, kind: str | None) -> None:
    """Raise what Pillow's decoders pass over in silence: wrong checksums, a scan cut short.

    Where the data of a JPEG end too early, libjpeg makes the rest grey and only warns, and Pillow
    does not ask it; FFmpeg's decoder refuses.
    """
    if kind == "PNG":
        with PillowImage.open(path) as opened:
            opened.verify()
    if kind not in ("JPEG", "MPO"):
        return
    codec = av.CodecContext.create("mjpeg", "r")
    codec.options = {"err_detect": "explode"}
    try:
        codec.decode(av.Packet(_scans(path.read_bytes())))
    except av.error.PatchWelcomeError:
        return  # a rare kind, of which it knows nothing
    except av.error.InvalidDataError as err:
        raise DataError(
            f"{path} is a damaged picture: its data break off or are wrong on the way; {ADVICE}"
        ) from err


def _scans(data: bytes) -> bytes:
    """A JPEG file without EXIF, profiles and comments, whose faults do not touch the pixels."""
    kept, at = bytearray(data[:2]), 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1 : at + 2]
        if marker == b"\xda":  # start of scan
            break
        size = 1 if marker == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not (b"\xe0" <= marker <= b"\xef" or marker == b"\xfe"):
            kept += data[at : at + size]
        at += size
    return bytes(kept + data[at:])


def _eight_bits(picture: PillowImage.Image, path: Path) -> PillowImage.Image:
    """The same as L, RGB or CMYK; as LA or RGBA if some of it is transparent."""
    if picture.mode.startswith(("I", "F")):
        return _eight_bit_grey(picture, path)
    if picture.has_transparency_data:
        return picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA")
    if picture.mode in ("L", "CMYK"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _eight_bit_grey(picture: PillowImage.Image, path: Path) -> PillowImage.Image:
    """Grey of 16 bits, or of numbers 0..1, as L; as LA if one level means transparent."""
    values = np.asarray(picture)
    if values.dtype.kind == "f":
        values = values * np.float32(65535)
    if not (values.min() >= 0 and values.max() <= 65535):  # also false for NaN
        raise DataError(
            f"{path} holds grey levels of {picture.getextrema()}, and only 8 bits, 16 bits and "
            f"numbers from 0 to 1 are read; {ADVICE}"
        )
    grey = PillowImage.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    hidden = picture.info.get("transparency")
    if hidden is not None:
        grey.putalpha(PillowImage.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return grey


def _shrunk(picture: PillowImage.Image) -> PillowImage.Image:
    factor = LONGER_SIDE / max(picture.size)
    if factor >= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Resampling.LANCZOS, reducing_gap=3.0)


def _opaque_part(picture: PillowImage.Image, path: Path) -> Mask | None:
    """The mask (H, W) of an LA or RGBA picture; None if all of it is opaque."""
    if picture.mode not in ("LA", "RGBA"):
        return None
    mask: Mask = np.asarray(picture.getchannel("A")) >= OPAQUE
    if not mask.any():
        raise DataError(f"{path} is transparent everywhere and shows nothing; {ADVICE}")
    return None if mask.all() else mask


def _in_srgb(picture: PillowImage.Image, profile: bytes | None, path: Path) -> PillowImage.Image:
    """The colours of a picture as RGB in sRGB, by its profile if that fits them."""
    colours = picture.convert(picture.mode.removesuffix("A"))
    if not profile:
        return colours.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() == "RGB" and colours.mode == "L":
            colours = colours.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as err:
        logger.warning("%s: its colour profile is left aside (%s)", path, err)
        return colours.convert("RGB")
    assert turned is not None  # not made in place
    return turned
