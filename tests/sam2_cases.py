"""Clips for SAM 2's trackers, ours and the official one, with seeded random weights."""

from __future__ import annotations

import hydra
import numpy as np
import PIL.Image
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from ren_core.sam2.model import Sam2Model

SIZE_HW = (72, 128)
BOX = np.array([30, 16, 74, 50], np.float32)


class Clip:
    """A FrameSource over frames in memory, or made when read."""

    def __init__(self, length, make, size_hw=SIZE_HW):
        self.length, self.make, self.size_hw = length, make, size_hw

    def __len__(self):
        return self.length

    def __getitem__(self, frame_idx):
        if not 0 <= frame_idx < self.length:
            raise IndexError(frame_idx)
        return self.make(frame_idx)

    def __iter__(self):
        return map(self.__getitem__, range(self.length))


class PooledTrunk(nn.Module):
    """Stands in for the image trunk: averages of the pixels, spread over the channels."""

    channel_list = (768, 384, 192, 96)

    def forward(self, pixels):
        maps = []
        for level, channels in enumerate(self.channel_list[::-1]):
            pooled = nn.functional.avg_pool2d(pixels, 4 << level)
            maps.append(pooled.repeat(1, channels // 3, 1, 1))
        return maps


def moving_square(frame_idx, size_hw=SIZE_HW):
    """Noise with a bright textured square that moves."""
    H, W = size_hw
    noise = np.random.default_rng(frame_idx).integers(0, 60, (H, W, 3))
    left = 20 + frame_idx % 40
    noise[20:44, left : left + 24] += np.random.default_rng(999).integers(60, 190, (24, 24, 3))
    return noise.astype(np.uint8)


def light_model(device="cpu"):
    model = Sam2Model.random("sam2.1_hiera_t", 0, device=device, image_size=64)
    model.network.image_encoder.trunk = PooledTrunk()
    return model


def write_jpegs(folder):
    for frame_idx in range(60):
        PIL.Image.fromarray(moving_square(frame_idx)).save(folder / f"{frame_idx:03d}.jpg")
    return folder


def clip_of(folder, length):
    """The decoded JPEGs of a folder as a FrameSource."""
    paths = sorted(folder.iterdir())[:length]
    return Clip(len(paths), lambda i: np.array(PIL.Image.open(paths[i]).convert("RGB")))


def official_predictor(model):
    """The unmodified video predictor with the same weights."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("sam2", version_base="1.2"):
        from sam2.build_sam import build_sam2_video_predictor

        predictor = build_sam2_video_predictor(
            "configs/sam2.1/sam2.1_hiera_t.yaml",
            device=str(model.device),
            hydra_overrides_extra=[f"++model.image_size={model.image_size}"],
        )
    if isinstance(model.network.image_encoder.trunk, PooledTrunk):
        predictor.image_encoder.trunk = PooledTrunk()
    predictor.load_state_dict(model.network.state_dict(), strict=True)
    return predictor.to(model.device)


def official_logits(model, folder, start, *, reverse=False, frames=None):
    """Frame index → logits (H, W) from a fresh state of the unmodified predictor."""
    predictor = official_predictor(model)
    state = predictor.init_state(str(folder))
    predictor.add_new_points_or_box(state, start, 1, box=BOX)
    steps = predictor.propagate_in_video(
        state, start, max_frame_num_to_track=frames, reverse=reverse
    )
    return {frame_idx: logits[0, 0] for frame_idx, _, logits in steps}


def our_logits(tracker, clip, start, stop):
    return {o.frame_idx: o.logits for o in tracker.propagate(clip, start, BOX, stop)}


def same(ours, theirs):
    return list(ours) == list(theirs) and all(torch.equal(ours[i], theirs[i]) for i in ours)
