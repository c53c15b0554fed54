"""Content-addressed storage with true IPFS CIDs."""
