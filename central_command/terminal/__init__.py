"""What a command prints of many things alike: a table for people, tab-separated lines for programs."""
