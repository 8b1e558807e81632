"""The subcommands of `mls` that take more than one call."""
