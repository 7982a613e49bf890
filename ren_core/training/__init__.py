"""Training of region encoders: region sources, views, losses, trainer."""
