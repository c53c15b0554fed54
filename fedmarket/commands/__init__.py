"""The commands, a module a role; each is imported only when it is called."""
