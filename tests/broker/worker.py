"""A worker for the task of `tests.broker.probe`: ``python -m tests.broker.worker QUEUES SOFT_SECONDS``.

All but the task is the real thing: the application, its consumer, its pool, the attempts, the shutdown.
"""

import os
import sys

os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")  # as workers/__main__.py

from unitscope.settings import BrokerSettings
from workers import app as workers_app

CONCURRENCY = 2

if __name__ == "__main__":
    queues, soft = sys.argv[1:]
    app = workers_app.worker_app(BrokerSettings(), float(soft))
    app.conf.include = ["tests.broker.probe"]
    workers_app.run(app, CONCURRENCY, workers_app.queue_names(queues))
