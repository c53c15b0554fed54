"""The demo's second play: images of a model that was trained here, accepted by verifiers who compare their digests."""
