"""Verifiers: generate what a task asks for, commit, reveal, be paid; never lose a stake by negligence."""
