"""The dashboard: reads runs, computes nothing that a query could."""
