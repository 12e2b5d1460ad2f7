"""The contract's other side: sign, send, retry."""
