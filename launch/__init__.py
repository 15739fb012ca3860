"""Starts the processes of a run, and nothing else: what they compute is the business of `reasoning`."""
