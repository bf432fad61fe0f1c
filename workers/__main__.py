"""Runs a worker: see `workers.app`."""

import os
import sys

# Celery's soft shutdown answers to SIGQUIT; platforms send SIGTERM. Celery and its pool read this variable
# when they are first imported, here and in every pool process.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

from workers.app import main

if __name__ == "__main__":
    sys.exit(main())
