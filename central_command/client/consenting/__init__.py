"""What a contributor says to a server of their data, and the receipts that it gives. The server's side of it is
`actors.consent`; consent to what stays on the user's own machine is `central_command.training`'s.
"""
