"""The master key, and secrets sealed with it; what is sealed, and where it lies, is said elsewhere."""
