"""Runs a worker: see `workers.app`."""

import sys

from workers.app import main

if __name__ == "__main__":
    sys.exit(main())
