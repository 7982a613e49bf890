"""The same as ``vq2d remember``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["remember", *sys.argv[1:]]))
