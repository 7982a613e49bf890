"""Semantic segmentation: a linear head on patches against the same head on REN tokens."""
