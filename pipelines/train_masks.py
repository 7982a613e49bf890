"""The same as ``vq2d train-masks``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["train-masks", *sys.argv[1:]]))
