"""Segmenters and trackers: SAM 2, or REN alone."""
