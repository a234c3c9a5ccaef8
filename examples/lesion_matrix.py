"""Which network carries which ability: contrasts x abilities in the reference model.

    python examples/lesion_matrix.py [--percent 10] [--sites mlp-neurons] [--controls 20]

For each contrast its top units are zeroed; each cell is the mean nll (nats per token) of an ability
afterwards, and in brackets the range under matched random units.
"""

import argparse
from collections.abc import Sequence

import deeploc
from deeploc.core.adapter import Adapter
from deeploc.core.units import UnitMask
from deeploc.generators.registry import generate

ABILITIES = ("sentences", "arithmetic", "copying")
N = 100


def requests(ability: str) -> list[deeploc.TextRequest]:
    records = generate(ability, N, 7, {})
    if ability == "sentences":
        return [deeploc.TextRequest("", record["text"]) for record in records]
    return [deeploc.TextRequest(r["prompt"], r["completion"]) for r in records]


def nll(adapter: Adapter, ability: str) -> float:
    scores = adapter.score(requests(ability))
    return -sum(s.logprob for s in scores) / sum(s.n_tokens for s in scores)


def contrast(positive: str, negative: str, sites: str) -> deeploc.Contrast:
    conditions = {name: {"builtin": name} for name in (positive, negative)}
    return deeploc.Contrast.model_validate(
        {
            "name": f"{positive}-{negative}",
            "title": f"{positive} > {negative}",
            "modality": "text",
            "source": "deeploc's generators",
            "conditions": conditions,
            "contrast": f"{positive} > {negative}",
            "read": {"sites": sites, "pool": "last"},
        }
    )


def ablated(adapter: Adapter, mask: UnitMask) -> list[float]:
    with adapter.ablated(deeploc.Ablation(mask)):
        return [nll(adapter, ability) for ability in ABILITIES]


def row(
    adapter: Adapter, localizer: deeploc.Contrast, percent: float, controls: int
) -> Sequence[str]:
    mask = deeploc.top_percent(deeploc.localize(adapter, localizer), percent)
    top = ablated(adapter, mask)
    null = [ablated(adapter, deeploc.random_like(mask, seed)) for seed in range(controls)]
    ranges = [(min(column), max(column)) for column in zip(*null, strict=True)]
    return [f"{t:.2f} [{low:.2f}, {high:.2f}]" for t, (low, high) in zip(top, ranges, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--percent", type=float, default=10)
    parser.add_argument("--sites", default="mlp-neurons")
    parser.add_argument("--controls", type=int, default=20)
    options = parser.parse_args()
    adapter = deeploc.load_model("reference:lm")
    pairs = [("sentences", "nonword-lists"), ("arithmetic", "sentences"), ("copying", "sentences")]
    print(f"{'nll of':26}" + "".join(f"{ability:>22}" for ability in ABILITIES))
    print(f"{'intact':26}" + "".join(f"{nll(adapter, ability):>22.2f}" for ability in ABILITIES))
    for positive, negative in pairs:
        localizer = contrast(positive, negative, options.sites)
        cells = row(adapter, localizer, options.percent, options.controls)
        print(f"{positive + ' > ' + negative:26}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
