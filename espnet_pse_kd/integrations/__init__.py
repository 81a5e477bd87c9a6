"""The stream in other programs: one module each, importing what only it needs."""
