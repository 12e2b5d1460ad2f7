"""What a contributor says to a server of their data, and the receipts that it gives."""
