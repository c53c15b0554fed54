"""How far honest machines' digests of one output lie apart, how near those of others come, and what follows."""
