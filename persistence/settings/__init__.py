"""The settings of what is on disk, and the types that settings of every layer are made of; no file is read here."""
