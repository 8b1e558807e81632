"""Canaries: fixed greedy prompts in the load, whose replies are known from asking them alone."""
