"""The dashboard: it reads runs, and queries compute all numbers."""
