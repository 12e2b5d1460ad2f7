"""The pages for browsers: rendered here from templates, over the same parts that the API's endpoints ask. What is shown
is found by the rooms below, and who may see it is decided in `access`.
"""
