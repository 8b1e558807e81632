"""Workload `text`: prompts cut out of the prose and the code that come with Python."""
