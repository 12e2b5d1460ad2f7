"""Texts that applications hand over for their users: checked, and stored where the user has agreed.

What is made of them is curation's.
"""
