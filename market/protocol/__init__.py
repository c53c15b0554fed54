"""The kernel: what every role agrees on without asking anyone. Imports nothing of the project."""
