"""Videos: exact frames at a rate, windows of a frame, writing. Knows nothing of Ego4D."""

from vq2d.video.frames import VideoFrames, open_video

__all__ = ["VideoFrames", "open_video"]
