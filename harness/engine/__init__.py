"""What makes a run: models and tasks are loaded, the work is planned, and each cell of it is
searched and swept.
"""
