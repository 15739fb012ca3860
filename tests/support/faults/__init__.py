"""Faults on purpose: runs are killed, starved, stopped and damaged, and must lose nothing and say what happened."""
