"""What the mathematics stands on and no science: compiled code and its cache on disk."""
