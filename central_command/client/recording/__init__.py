"""The `Recorder`: steps that a program hands over while its agent works."""
