"""The same as ``vq2d evaluate``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
