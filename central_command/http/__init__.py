"""The HTTP endpoints: they read, ask and answer, and decide nothing."""
