"""Measures the proof of one round: rows on disk, every stage in a process of its own, gas on a chain of its own."""
