"""SAM 2: its networks and weights, and its automatic masks; nothing else imports ``sam2``."""
