"""The same as ``vq2d ask``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["ask", *sys.argv[1:]]))
