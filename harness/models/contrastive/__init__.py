"""Encoders that learn without labels, by telling pairs apart or by predicting one view from
another.
"""
