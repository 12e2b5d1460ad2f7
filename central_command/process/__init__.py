"""What belongs to the process as such: its log lines, its clock, its threads and its garbage."""
