"""`python -m mls.worker`: one rank, as `mls run`."""

from mls.host.launch.shared_memory import end_without_shared_memory
from mls.host.processes.signals import end_on_interrupt
from mls.host.text import take_any_text

if __name__ == "__main__":  # before MPI is initialized, which its import does
    end_on_interrupt()
    take_any_text()
    end_without_shared_memory()

from mls.commands.run import main

if __name__ == "__main__":
    main()
