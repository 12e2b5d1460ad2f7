"""What can be told of a trajectory from its steps alone: what it was for, whether its model fits, how good it is. Pure,
and each verdict with its reasons; nobody is asked, and nothing leaves the machine.
"""
