"""The attack gallery: the project's own rules, and others', on the integer updates of honest trainers and of cheats."""
