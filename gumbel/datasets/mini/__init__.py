"""The embedded data: scenes of OpenMoji pictures, annotated as LVIS v1 is."""
