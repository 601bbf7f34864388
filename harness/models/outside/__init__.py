"""Models of other libraries behind the harness's forward: Hugging Face, timm, zero-shot classifiers
in the way of CLIP.
"""
