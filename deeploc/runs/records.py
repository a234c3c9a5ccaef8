"""What a manifest may contain: the record of every stage, typed."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from deeploc.core.responses import Units
from deeploc.core.results import Better


class Part(BaseModel):
    """A part of the manifest; keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class StageRecord(Part):
    """What a stage recorded of itself.

    ``key`` is the hash of everything that decides its results, ``inputs`` the same by name,
    ``files`` maps each of its files to the hash of its bytes. A stage that was interrupted is not
    ``complete``.
    """

    key: str
    inputs: dict[str, Any]
    files: dict[str, str] = {}
    complete: bool = True


class Spread(Part):
    """Mean, standard deviation, minimum and maximum of a measure over stimuli."""

    mean: float
    sd: float | None
    min: float
    max: float


class AuditedCondition(Part):
    """What the audit counted of one condition."""

    n: int
    duplicates: int
    elsewhere: int
    shared: dict[str, int]
    words: Spread | None = None
    characters: Spread | None = None
    tokens: Spread | None = None
    words_left: Spread | None = None
    width: Spread | None = None
    height: Spread | None = None
    pixels: Spread | None = None
    luminance: Spread | None = None
    truncated: float | None = None
    not_word_final: float | None = None
    bos: float | None = None


class AuditRecord(StageRecord):
    """The audit of the stimuli."""

    conditions: dict[str, AuditedCondition]
    limit: int | None = None
    warnings: list[str] = []


class LocalizeRecord(StageRecord):
    """Counts of the units that were localized."""

    n_units: int
    constant_units: int
    nonfinite_units: int


class RankingRecord(StageRecord):
    """The objective whose gradient ranks the units: its value (nats), and how many losses it has.

    ``correlation`` is, per kind of site, Spearman's between the attribution and the statistic.
    """

    value: float | None
    n_terms: int
    warnings: list[str] = []


class SelectRecord(StageRecord):
    """Kind of site -> how many units are selected."""

    selected: dict[str, int]


class ResultPart(Part):
    """Results that are read back as the values that they were; null stands for nan."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Share = Annotated[float, Field(ge=0, le=1)]


class PreferenceRecord(ResultPart):
    """The contrast tested on a group of units."""

    sites: str
    units: Units
    t: float | None
    df: Annotated[float, Field(gt=0)] | None
    p: float | None
    d: float | None


class ProfileRecord(StageRecord):
    """The tests of the response profile."""

    held_out: bool
    effects: list[PreferenceRecord]


class HalvesRecord(ResultPart):
    """How well two halves of the stimuli agree."""

    r: float | None
    overlap: Share | None
    chance: Share | None


class FoldsRecord(ResultPart):
    """Cohen's d of the contrast in every fold."""

    d: list[float | None]


class PermutationsRecord(ResultPart):
    """The largest t beside those under permuted labels."""

    n: int
    t: float | None
    p: float | None
    threshold: float | None
    n_above: int


class KindReliabilityRecord(ResultPart):
    """The reliability at one kind of site."""

    sites: str
    halves: HalvesRecord | None
    folds: FoldsRecord | None
    permutations: PermutationsRecord | None


class ReliabilityRecord(StageRecord):
    """The reliability of the localization, and why parts of it are missing."""

    kinds: list[KindReliabilityRecord]
    missing: dict[str, str]


class LargeUnitRecord(ResultPart):
    """One of the largest units of a site."""

    index: int
    peak: float | None
    ratio: float | None


class SiteMagnitudesRecord(ResultPart):
    """How large the activations at a site are."""

    site: str
    kind: str
    median: float
    above: Annotated[list[int], Field(min_length=3, max_length=3)]
    largest: list[LargeUnitRecord]
    massive: list[int]
    stretch: list[int]


class MassiveRecord(StageRecord):
    """The massive activations of the model, or why they are not known."""

    sites: list[SiteMagnitudesRecord]
    n_stimuli: int
    missing: str


class KindUntrainedRecord(ResultPart):
    """What is selected in an untrained copy at one kind of site."""

    sites: str
    n_selected: int
    preference: PreferenceRecord | None
    halves: HalvesRecord | None


class UntrainedRecord(StageRecord):
    """What is selected in an untrained copy of the model, or why there is no copy."""

    kinds: list[KindUntrainedRecord]
    missing: str | None


class TaskRecord(Part):
    """A task: its metrics, what identifies its items, and the hash of both and the model.

    ``chance`` is what guessing scores, where that is not 0. ``on_units``: it is measured on units
    of the intact model (`deeploc.core.unit_task`), not under ablation.
    """

    metrics: dict[str, Better]
    chance: dict[str, float] = {}
    items: dict[str, Any]
    key: str
    on_units: bool = False


class CellRecord(Part):
    """An ablation by name, and the key of what was ablated."""

    sites: str
    mode: str
    percent: float
    mask: str
    control_of: str
    key: str


class EvaluateRecord(StageRecord):
    """The tasks and ablations whose scores are current."""

    tasks: dict[str, TaskRecord]
    cells: list[CellRecord]
    notices: list[str] = []


class ConditionRecord(Part):
    """How many stimuli a condition has, and the hashes of what they show."""

    n: int
    localize: int
    evaluate: int
    sha256: str
    sha256_evaluate: str
    samples: list[str] = []


class UnreadableRecord(Part):
    """An image that could not be read and was left out."""

    condition: str
    stimulus: str
    reason: str


class SiteRecord(Part):
    """A row of the site table."""

    name: str
    kind: str
    n_units: int
    offset: int
    width: int = 1


class PluginFileRecord(Part):
    """A plugin file that a run rests on."""

    file: str
    sha256: str


class Options(Part):
    """The options of the run, see `Setup`."""

    device: str
    dtype: str
    batch_size: int | None
    untrained: bool
    seed: int
    weights: str | None
    limit: int | None
    stimuli: str | None
    strict: bool
    base: str
    revision: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    plugins: list[PluginFileRecord] = []
