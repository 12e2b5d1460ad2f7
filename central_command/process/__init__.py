"""What belongs to the process as such: its log lines and its clock."""
