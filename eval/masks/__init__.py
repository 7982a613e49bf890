"""Promptable masks: how well a box or a point becomes the outline of its thing."""
