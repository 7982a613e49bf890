"""SAM 2 as a video tracker in constant memory.

The frames are read one at a time, and only what the network can still look back at is kept. The
result is bit for bit that of the official video predictor, which holds the whole clip: forwards,
and backwards in a state of its own (no memory of the other direction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from ren_core.errors import ConfigError
from ren_core.geometry import Boxes, box_area, clip_boxes, mask_to_box
from ren_core.images import Image
from ren_core.sam2.model import Sam2Model
from vq2d.masking.base import TrackStep, VideoTracker
from vq2d.types import FrameSource

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
BOX_LABELS = (2, 3)  # SAM 2's names for a box's upper left and lower right corner
REACH = 15  # frames that SAM 2.1 looks back: 16 object pointers, one of them the prompt's


@dataclass(frozen=True, slots=True)
class ObjectLogits:
    """What the network says of one frame.

    Attributes:
        frame_idx: Clip frame.
        logits: (H, W) float32 at the frame's size; above 0 is the object.
        presence: Probability in 0..1 that the object is in view.
    """

    frame_idx: int
    logits: Tensor
    presence: float


class Sam2Tracker(VideoTracker):
    """Follows one object through a clip from a box; a ``VideoTracker``."""

    def __init__(
        self, model: Sam2Model, *, keep_frames: int = REACH, mask_threshold: float = 0.0
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: Shared with the segmenter.
            keep_frames: Frames remembered besides the prompted one. Fewer than the default save
                memory (0.5 MB each at image size 1024) and change the masks.
            mask_threshold: Logit above which a pixel is the object.

        Raises:
            ConfigError: If ``keep_frames`` is below 1.
        """
        if keep_frames < 1:
            raise ConfigError(f"keep_frames must be at least 1, got {keep_frames}")
        self.model = model
        self.keep_frames = keep_frames
        self.mask_threshold = mask_threshold

    def track(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[TrackStep]:
        """Yield steps until ``stop_frame`` or the first empty mask; see ``VideoTracker``."""
        for found in self.propagate(frames, start_frame, box_xyxy, stop_frame):
            box = mask_to_box((found.logits > self.mask_threshold).cpu().numpy())
            if box is None:
                return
            yield TrackStep(found.frame_idx, box, found.presence)

    def propagate(
        self, frames: FrameSource, start_frame: int, box_xyxy: Boxes, stop_frame: int
    ) -> Iterator[ObjectLogits]:
        """Yield the logits of every frame, empty or not.

        Args:
            frames: The clip.
            start_frame: Frame of the box, and the first one yielded.
            box_xyxy: (4,) frame pixels, half-open; cut to the frame. A box outside it yields
                nothing.
            stop_frame: One past the last frame, in the direction of travel; -1 is before frame 0.

        Raises:
            ConfigError: If a frame number lies outside the clip.
        """
        check_range(start_frame, stop_frame, len(frames))
        memory = _Memory(self.keep_frames)
        box = clip_boxes(box_xyxy, frames.size_hw)
        if not box_area(box) > 0:
            return
        step = 1 if stop_frame > start_frame else -1
        for age, frame_idx in enumerate(range(start_frame, stop_frame, step)):
            image = frames[frame_idx]
            prompt = None if age else self._box_prompt(box, image)
            logits, presence = self._look(image, age, prompt, memory, clip_length=len(frames))
            yield ObjectLogits(frame_idx, logits, presence)

    def _box_prompt(self, box_xyxy: Boxes, image: Image) -> dict[str, Tensor]:
        """A box in frame pixels as the two labelled points that the prompt encoder takes."""
        H, W = image.shape[:2]
        corners = torch.tensor(box_xyxy, dtype=torch.float32).reshape(1, 2, 2)
        corners = corners / torch.tensor([W, H]) * self.model.image_size
        labels = torch.tensor([BOX_LABELS], dtype=torch.int32)
        device = self.model.device
        return {"point_coords": corners.to(device), "point_labels": labels.to(device)}

    def _look(
        self,
        image: Image,
        age: int,
        prompt: dict[str, Tensor] | None,
        memory: _Memory,
        *,
        clip_length: int,
    ) -> tuple[Tensor, float]:
        """Segment one frame with what is remembered, and remember it.

        Args:
            image: (H, W, 3) uint8.
            age: Frames since the prompt, in the direction of travel.
            prompt: The box, on the first frame.
            memory: Read and extended.
            clip_length: Frames in the clip; below 16 it scales the network's sense of time.

        Returns:
            Logits (H, W) and the object's presence.
        """
        network = self.model.network
        with self.model.inference():
            pixels = model_input(image, self.model.image_size, self.model.device)
            _, features, positions, sizes = network._prepare_backbone_features(
                network.forward_image(pixels)
            )
            output = network.track_step(
                frame_idx=age,
                is_init_cond_frame=prompt is not None,
                current_vision_feats=features,
                current_vision_pos_embeds=positions,
                feat_sizes=sizes,
                point_inputs=prompt,
                mask_inputs=None,
                output_dict=memory.frames,
                num_frames=clip_length,
            )
            memory.add(age, output)
            logits = torch.nn.functional.interpolate(
                output["pred_masks"], size=image.shape[:2], mode="bilinear", align_corners=False
            )
            presence = torch.sigmoid(output["object_score_logits"].float())
        return logits[0, 0], float(presence)


class _Memory:
    """What is remembered of one object: the prompted frame for good, the others for a while."""

    def __init__(self, keep_frames: int) -> None:
        self.keep_frames = keep_frames
        self.frames: dict[str, dict[int, dict[str, Any]]] = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
        }
        self._positions: list[Tensor] = []

    def add(self, age: int, output: dict[str, Any]) -> None:
        """Keep what later frames read of a frame's output, and forget the frame out of reach.

        The position code is the same for every frame, so one copy is shared.
        """
        self._positions = self._positions or output["maskmem_pos_enc"]
        kept = {
            "maskmem_features": output["maskmem_features"].to(torch.bfloat16),
            "maskmem_pos_enc": self._positions,
            "obj_ptr": output["obj_ptr"],
        }
        self.frames["non_cond_frame_outputs" if age else "cond_frame_outputs"][age] = kept
        self.frames["non_cond_frame_outputs"].pop(age - self.keep_frames, None)


def check_range(start_frame: int, stop_frame: int, clip_length: int) -> None:
    """Raise ConfigError unless both ends lie in the clip (``stop_frame`` may be one outside)."""
    if not 0 <= start_frame < clip_length:
        raise ConfigError(f"start_frame must be in 0..{clip_length - 1}, got {start_frame}")
    if not -1 <= stop_frame <= clip_length:
        raise ConfigError(f"stop_frame must be in -1..{clip_length}, got {stop_frame}")


def model_input(image: Image, size: int, device: torch.device) -> Tensor:
    """Squash and normalise a frame (H, W, 3) to (1, 3, size, size) float32.

    The arithmetic is that of the official loader of image folders: bicubic in 8 bits, division in
    float64, normalisation in float32.
    """
    squashed = np.array(PIL.Image.fromarray(image).resize((size, size)))
    unit = (torch.from_numpy(squashed).permute(2, 0, 1).double() / 255.0).float().to(device)
    mean = torch.tensor(PIXEL_MEAN, device=device)[:, None, None]
    std = torch.tensor(PIXEL_STD, device=device)[:, None, None]
    return ((unit - mean) / std).unsqueeze(0)
