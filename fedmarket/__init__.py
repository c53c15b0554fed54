"""The command line, the local development network and the demo: the one place that knows every role."""
