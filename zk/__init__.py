"""Commitments to integer vectors and a succinct proof of their Gram matrix, over BN254, in numpy and numba alone."""
