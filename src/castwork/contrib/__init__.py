"""Castwork beside other libraries: each module is a page of code on the public surface, to read."""
