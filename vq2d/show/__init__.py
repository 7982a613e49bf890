"""Everything that is drawn about an answer."""
