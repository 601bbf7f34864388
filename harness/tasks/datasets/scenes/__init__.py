"""Scenes: pictures of objects, made on the fly from a seed, the questions about them and a
detector's proposals.
"""
