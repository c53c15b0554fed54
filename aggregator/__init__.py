"""Turns a round's updates into a decision: pure integer functions of the Gram matrix, and the worker around them."""
