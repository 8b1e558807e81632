"""What is measured next, where the results decide."""
