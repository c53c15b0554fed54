"""The market over HTTP: one module a noun, each with its router."""
