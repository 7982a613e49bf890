"""Command lines: parse, build, call, report."""
