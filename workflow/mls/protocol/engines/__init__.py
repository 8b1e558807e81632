"""Engines: what each calls its own figures, and what it says of itself."""
