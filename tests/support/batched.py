"""Batches, each made by one program as a stage makes them; by itself every operation would be a program of its own."""

import jax

from reasoning.training import batches, policy_rows

_SETTINGS = ("samples", "advantage", "select", "aggregate", "length", "kl_select")

token_batch = jax.jit(batches.token_batch, static_argnums=(1, 2))
assemble = jax.jit(policy_rows.assemble, static_argnames=_SETTINGS)
assemble_minibatches = jax.jit(policy_rows.assemble_minibatches, static_argnames=("parts", *_SETTINGS))
