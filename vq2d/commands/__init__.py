"""Command lines of the main job: parse, build, call, report."""
