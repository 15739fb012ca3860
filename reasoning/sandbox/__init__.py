"""Programs of strangers: run in isolation, and judged by tests that they never see."""
