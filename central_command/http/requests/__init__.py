"""What holds for every request, whatever its endpoint: bodies, limits by address, what all of them may hold, the log
line, and the one table from outcomes to answers. What only one endpoint takes or says is that endpoint's.
"""
