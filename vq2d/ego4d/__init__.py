"""Ego4D's files: annotations, clips, submissions."""
