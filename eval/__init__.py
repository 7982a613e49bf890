"""Evaluations over the region tokens, and what they cost."""
