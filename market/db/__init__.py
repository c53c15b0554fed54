"""The market's database: rows that anyone can rebuild from the chain, and a few that are the service's own."""
