"""What contributors said of their data, and the keys they speak with: recorded in a chain, known in memory as far as an
envelope's answer depends on it, stated in signed receipts. Who asks, and over what, is no matter here.
"""
