"""SAM 2: the network, its weights, and its automatic masks."""
