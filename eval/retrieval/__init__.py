"""One-shot retrieval of objects."""
