"""Typed access to the contracts: one gateway a contract, generated artefacts, durable transactions."""
