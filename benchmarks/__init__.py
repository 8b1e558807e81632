"""Accuracy and speed of the load generator, against ground truth and against its peers."""
