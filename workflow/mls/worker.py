"""`python -m mls.worker`: one rank, as `mls run`."""

from mls.host.signals import end_on_interrupt

if __name__ == "__main__":  # before MPI is initialized, which its import does
    end_on_interrupt()

from mls.commands.run import main

if __name__ == "__main__":
    main()
