"""What drawings have around their lines."""
