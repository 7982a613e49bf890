"""The main job over an annotation file or over a video of one's own."""
