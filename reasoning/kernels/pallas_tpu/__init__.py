"""The fused functions as Pallas kernels for TPUs."""
