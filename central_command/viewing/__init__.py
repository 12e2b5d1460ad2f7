"""Sessions as somebody looks at them: a window of steps at a time, found by their places, never a whole record."""
