"""What uses a model or a finished run: open and read a run, load and ask a model, convert and export; runs nothing."""
