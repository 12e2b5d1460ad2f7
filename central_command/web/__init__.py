"""The pages for browsers: rendered here from templates, over the same parts that the API's endpoints ask."""
