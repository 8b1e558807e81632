"""llama-cpp-python's server without repacked weights. Run by its own Python, with its options.

On a host with AMX 0.3.36 repacks the weights for it, and its first prompt then ends in SIGSEGV. The
server has no option against that.
"""

import sys

from llama_cpp import llama_cpp
from llama_cpp.server.__main__ import main

defaults = llama_cpp.llama_model_default_params


def without_repacking():
    parameters = defaults()
    parameters.use_extra_bufts = False
    return parameters


if __name__ == "__main__":
    llama_cpp.llama_model_default_params = without_repacking
    sys.exit(main())
