"""Certificates: strengths below which, by proof, no change of the inputs makes a model fail."""

from attacks.certify.affine import Uncertified
from attacks.certify.enumeration import enumerated_strength
from attacks.certify.strength import Certified, Guarded, bounded, certified_strength

__all__ = ["Certified", "Guarded", "Uncertified", "bounded", "certified_strength", "enumerated_strength"]
