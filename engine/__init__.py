"""Xinshi (信使): the bulk sending engine for 企业信使 gateways."""

__version__ = "0.1.0"
