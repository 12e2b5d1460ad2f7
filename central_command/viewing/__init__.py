"""Sessions as somebody looks at them: a window of steps at a time, found by their places, never a whole record. What is
made of a step for the eye is `markup`'s, and the page around it `web`'s.
"""
