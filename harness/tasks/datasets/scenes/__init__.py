"""Scenes: images of objects, made on the fly from a seed, with questions about them and a
detector's proposals.
"""
