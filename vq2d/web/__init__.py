"""A page in the browser: choose a thing in a video, ask a memory, see the answer."""
