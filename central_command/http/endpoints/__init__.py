"""The contract's endpoints, a file for each group: they read, ask the service and answer."""
