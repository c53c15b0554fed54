"""What a trainer runs: models, data, local training, submission."""
