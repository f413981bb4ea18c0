"""A part of a configuration file."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a configuration: immutable, and unknown keys and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
