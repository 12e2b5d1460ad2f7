"""The commands of `central-command`: they parse, call and print; what they do is done below."""
