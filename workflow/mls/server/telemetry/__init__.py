"""The sampler beside a run, and its samples."""
