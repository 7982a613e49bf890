"""The official figures, and which stage lost which query."""
