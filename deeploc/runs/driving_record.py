"""What the manifest records of the stimuli that drive the selected units."""

from deeploc.runs.records import ResultPart, StageRecord


class DrivenRecord(ResultPart):
    """What is known of the order of stimuli at one kind of site."""

    sites: str
    n_stimuli: int
    n_units: int
    n_placed: int
    missing: str


class DrivingRecord(StageRecord):
    """The order of stimuli at every kind of site with selected units."""

    kinds: list[DrivenRecord]
