"""The few file operations that durability is made of, real and in memory, and what guards a disk: its lock, its room,
its failures. What the files mean is no matter here.
"""
