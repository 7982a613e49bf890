"""Own error, so that rendering needs nothing of the program (which would need PyTorch)."""


class TourError(RuntimeError):
    """A tour cannot be built as asked; the message says what to change."""
