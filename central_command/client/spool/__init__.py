"""What was signed and not yet delivered, on the contributor's disk."""
