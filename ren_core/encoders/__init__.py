"""Frozen patch encoders behind one interface; ``catalog.build_encoder`` makes them by name."""
