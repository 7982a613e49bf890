"""Commands about region tokens and their training: parse, build, call, report."""
