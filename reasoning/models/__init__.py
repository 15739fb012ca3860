"""Decoders as Flax modules with configs, caches, adapters and shardings; never a loss or an optimizer."""
