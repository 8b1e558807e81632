"""mls: a reproducible benchmark of llama-server and other OpenAI-compatible servers."""

__version__ = "0.1.0"
