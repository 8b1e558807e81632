"""The typed config, its cells, and the settings that each of them resolves to."""
