"""What is asked of the database, one module a noun. Each question takes a constant number of statements."""
