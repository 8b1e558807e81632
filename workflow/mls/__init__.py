"""mls: a reproducible benchmark of llama-server and other OpenAI-compatible servers."""

import atexit
import gc
import os

__version__ = "0.1.0"

# Before numpy and scipy are imported: a thread of their OpenBLAS spins for 30 ms before it sleeps, in
# processes that live for a second and have no matrix to multiply
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# A sixth of such a process's time would be garbage collection: while modules are imported, which
# leave none, and once more of all of them when it ends
gc.set_threshold(50_000)
atexit.register(gc.freeze)
