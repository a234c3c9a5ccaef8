"""What the commands print on stdout: tables, columns, JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from statistics import median
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deeploc.analysis.demonstration import Guess
    from deeploc.core.effects import Effect
    from deeploc.core.responses import Response, Units
    from deeploc.runs.folder import RunFolder

_SHOWN: "tuple[Units, Units]" = ("selected", "random")


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; what JSON cannot say (inf, nan) becomes a string."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> None:
    """Print a table; the last ``numbers`` columns are aligned to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    first = len(head) - numbers
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if i >= first else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def print_effects(
    run: "RunFolder", as_json: bool, *, verbose: bool = False, profile: bool = False
) -> None:
    """Print what an evaluation came to, for a person or as JSON.

    ``verbose``: a row for every condition; ``profile``: the response profile below the verdict.
    """
    effects = run.read_effects()
    if as_json:
        from dataclasses import asdict

        rows = [{**asdict(e), "p": e.p, "verdict": e.verdict} for e in effects]
        print_json({"run": str(run.path), "effects": rows, "profile": profile_json(run)})
        return
    _print_verdict(effects, run, verbose)
    if profile:
        print_profile(run)
    click.echo(f"every metric: {run.scores}")
    click.echo(f"report:       {run.report}")


def profile_json(run: "RunFolder") -> dict[str, Any] | None:
    """Return the response profile of a run as one JSON value, None where it has none."""
    from dataclasses import asdict

    found = run.read_profile()
    if found is None:
        return None
    return {**found.to_json(), "responses": [asdict(row) for row in found.responses]}


def print_profile(run: "RunFolder") -> None:
    """Print the z of every condition, selected and random units, and the contrast tested on it."""
    from deeploc.report.text import tell_test

    profile = run.read_profile()
    if profile is None:
        return
    stimuli = "held-out stimuli" if profile.held_out else "the localizing stimuli (not held out)"
    click.echo(f"\nresponse to {stimuli}, each unit in its own SDs: mean z [95 % CI]")
    groups = zip(
        *([row for kind in profile.kinds for row in profile.of(kind, units)] for units in _SHOWN),
        strict=True,
    )
    rows = [[a.sites, a.condition, *map(_z, (a, b))] for a, b in groups]
    print_table(["sites", "condition", "selected units", "random units"], rows)
    for kind in profile.kinds:
        ours, random = (profile.preference(kind, units) for units in _SHOWN)
        where = "held-out" if profile.held_out else "not held out:"
        chance = tell_test(random, short=True)
        click.echo(f"{kind}: {where} {tell_test(ours)}; random units {chance}")
    click.echo()


def _z(row: "Response") -> str:
    text = f"{row.z:z5.2f} [{row.z_low:z.2f}, {row.z_high:z.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _print_verdict(effects: "Sequence[Effect]", run: "RunFolder", verbose: bool) -> None:
    """Print a table per kind of site and mode: the main metric of each task at every dose."""
    from deeploc.report.text import condensed, main_effects

    main = main_effects(effects, run.better())
    told = main if verbose else condensed(main, run.read_comparison().positive)
    blocks: dict[tuple[str, str], list[Effect]] = {}
    for effect in told:
        blocks.setdefault((effect.sites, effect.mode), []).append(effect)
    for (sites, mode), block in sorted(blocks.items()):
        click.echo(f"{sites}, {mode} ablation")
        head = ["task", "condition", "metric", "intact", "dose", "ablated", "random", "[min, max]"]
        rows = sorted(block, key=lambda e: (_order(block, e), e.percent))
        print_table([*head, "p", "verdict"], [_row(effect) for effect in rows])
        click.echo()
    if len(told) < len(main):
        click.echo("N others: the mean over that many other conditions; -v tells each")
    click.echo(
        "random: median of the matched random controls\n"
        "p = (1 + controls at least as damaging) / (1 + controls)"
    )


def _order(block: "Sequence[Effect]", effect: "Effect") -> int:
    """Return the place of a task's condition in its block, so that its doses stand together."""
    return [(e.task, e.condition) for e in block].index((effect.task, effect.condition))


def _row(effect: "Effect") -> list[str]:
    from deeploc.report.text import number

    controls = effect.controls
    middle = number(median(controls)) if controls else "-"
    span = f"[{number(min(controls))}, {number(max(controls))}]" if controls else "-"
    place = [effect.task, effect.condition, effect.metric]
    values = [number(effect.intact), f"{effect.percent:g} %", number(effect.ablated), middle, span]
    return [*place, *values, f"{effect.p:.3f}", effect.verdict]


def print_columns(texts: dict[str, str]) -> None:
    """Print named texts side by side, as wide as the terminal allows."""
    width = _column_width(len(texts))
    _print_beside({name: _wrapped(text, width) for name, text in texts.items()}, width)


def print_guesses(guesses: "Mapping[str, Sequence[Guess]]") -> None:
    """Print named lists of guesses side by side; labels are cut off where the terminal ends."""
    width = _column_width(len(guesses))
    broken = _wrapped("no answer: the logits are not finite", width)
    columns = {name: [_guess(g, width) for g in best] or broken for name, best in guesses.items()}
    _print_beside(columns, width)


def _guess(guess: "Guess", width: int) -> str:
    line = f"{guess.probability:6.1%}  {guess.label}"
    return line if len(line) <= width else f"{line[: width - 1]}…"


def width() -> int:
    """Return how many characters a line of the terminal holds; 100 where there is none."""
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def print_paragraph(text: str, indent: int = 0) -> None:
    """Print running text, broken between words where the terminal ends; addresses stay whole."""
    import textwrap

    margin = " " * indent
    for line in text.strip().splitlines():
        click.echo(
            textwrap.fill(
                line,
                width(),
                initial_indent=margin,
                subsequent_indent=margin,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )


def _column_width(n: int) -> int:
    return width() // n - 2


def _print_beside(columns: Mapping[str, Sequence[str]], width: int) -> None:
    """Print columns of lines that fit ``width``, each below its name."""
    heads = [_wrapped(name, width) for name in columns]
    parts: list[Iterable[Sequence[str]]] = [heads, [["─" * width]] * len(heads), columns.values()]
    for part in parts:
        for row in zip_longest(*part, fillvalue=""):
            click.echo("  ".join(cell.ljust(width) for cell in row).rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    lines = text.strip().splitlines()
    return [piece for line in lines for piece in textwrap.wrap(line, width) or [""]]
