"""What belongs to the process as such: its log lines, its clock, its threads, its garbage, the processes that it
starts, paths of its command line. Nothing here knows what this program is for.
"""
