"""The same as ``vq2d train``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
