"""Programs compiled for machines that aren't there, and what they would need; never a run."""
