"""What runs within the sandbox, beside the answer or against it. Imports nothing else of the project."""
