"""The one train step, the one loop around it, losses, optimizers, checkpoints, metrics; never a source of batches."""
