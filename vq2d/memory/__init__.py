"""Many videos, made once, asked many times."""
