"""What each subcommand of `mls` does that is more than one call."""
