"""Pictures of a small scene, encoded in many ways."""

from __future__ import annotations

import io
import zlib
from base64 import b85decode
from types import MappingProxyType

import numpy as np
from PIL import Image

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


def is_scene(image, tolerance=6):
    spots = {(12, 16): GREY, (12, 48): GREY, (36, 16): RED, (36, 48): BLUE}
    near = [
        np.abs(image[at].astype(int) - colour).max() <= tolerance for at, colour in spots.items()
    ]
    return image.shape == (H, W, 3) and image.dtype == np.uint8 and all(near)
