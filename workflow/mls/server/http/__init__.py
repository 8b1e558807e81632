"""HTTP to a server beside its load: a session, its time limits, and whom it trusts."""
