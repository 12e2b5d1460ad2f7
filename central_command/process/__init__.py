"""What belongs to the process as such: its log lines, its clock and its garbage."""
