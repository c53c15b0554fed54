"""The kernel, the chain gateway and the storage that owner, trainer, aggregator and auditor share."""
