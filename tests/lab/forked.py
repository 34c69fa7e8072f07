"""What a worker says of itself. It imports nothing, so that what is there was there before."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection


def tell(connection: Connection) -> None:
    deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    connection.send((os.getppid(), {"torch", "cairn.lab.cell"} <= sys.modules.keys(), deaf))
