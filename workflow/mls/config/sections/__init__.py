"""The sections of the config: one module each, and the types of their values."""
