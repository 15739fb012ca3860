"""Looking into a run in the browser: from a curve to the step, the group, the completion, the token."""
