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

_GROUPS: "tuple[Units, Units]" = ("selected", "random")
"""The groups of units whose responses are printed."""


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; inf and nan, which JSON lacks, become strings."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], n_numeric: int = 0) -> None:
    """Print a table.

    Parameters
    ----------
    head
        The headings of the columns.
    rows
        A text per column. A row of one text is a subheading, and does not widen its column.
    n_numeric
        How many columns, counted from the last, are aligned to the right.
    """
    full = [row for row in (head, *rows) if len(row) == len(head)]
    widths = [max(len(row[i]) for row in full) for i in range(len(head))]
    first = len(head) - n_numeric
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if i >= first else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        click.echo("  ".join(cells).rstrip())


def print_effects(
    run: "RunFolder", as_json: bool, *, verbose: bool = False, profile: bool = False
) -> None:
    """Print the results of an evaluation.

    Parameters
    ----------
    run
        The run folder.
    as_json
        Whether one JSON document is printed in place of tables.
    verbose
        Whether the tables have a row for every condition.
    profile
        Whether the response profile and the reliability are printed below the verdicts.
    """
    effects = run.read_effects()
    if as_json:
        from dataclasses import asdict

        rows = [{**asdict(e), "p": e.p, "verdict": e.verdict} for e in effects]
        print_json({"run": str(run.path), "effects": rows, **selection_json(run)})
        return
    _print_verdicts(effects, run, verbose)
    if profile:
        print_profile(run)
        print_reliability(run)
    else:
        click.echo()
    click.echo(f"every metric: {run.scores}")
    click.echo(f"report:       {run.report}")


def selection_json(run: "RunFolder") -> dict[str, Any]:
    """Return the response profile and the reliability of a run as JSON, None where it has none."""
    from dataclasses import asdict

    profile, reliability = run.read_profile(), run.read_reliability()
    responses = [asdict(row) for row in profile.responses] if profile else []
    return {
        "profile": {**profile.to_json(), "responses": responses} if profile else None,
        "reliability": reliability.to_json() if reliability else None,
    }


def print_reliability(run: "RunFolder") -> None:
    """Print two lines per kind of site on how far its selection can be relied on."""
    from deeploc.report.text import describe_missing, describe_reliability

    reliability = run.read_reliability()
    if reliability is None:
        return
    for kind in reliability.kinds:
        for line in describe_reliability(reliability, kind.sites):
            click.echo(line)
    for line in describe_missing(reliability):
        print_paragraph(line)
    click.echo()


def print_profile(run: "RunFolder") -> None:
    """Print the mean z of selected and random units per condition, and the test of the contrast."""
    from deeploc.report.text import format_test

    profile = run.read_profile()
    if profile is None:
        return
    stimuli = "held-out stimuli" if profile.held_out else "the localizing stimuli (not held out)"
    click.echo(f"\nresponse to {stimuli}, units standardized: mean z [95 % CI]")
    selected, random = (
        [row for kind in profile.kinds for row in profile.of(kind, units)] for units in _GROUPS
    )
    rows = [[a.sites, a.condition, _z(a), _z(b)] for a, b in zip(selected, random, strict=True)]
    print_table(["sites", "condition", "selected units", "random units"], rows)
    click.echo(f"\ncontrast on {stimuli}")
    tests = []
    for kind in profile.kinds:
        test, chance = (profile.preference(kind, units) for units in _GROUPS)
        tests.append([kind, format_test(test), format_test(chance, short=True)])
    print_table(["sites", "selected units", "random units"], tests)
    click.echo()


def _z(row: "Response") -> str:
    text = f"{row.z:z5.2f} [{row.z_low:z.2f}, {row.z_high:z.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _print_verdicts(effects: "Sequence[Effect]", run: "RunFolder", verbose: bool) -> None:
    """Print a table per kind of site, mode and mask: the main metric of each task at every dose."""
    from deeploc.core.effects import MIN_CONTROLS
    from deeploc.core.stats import ALPHA
    from deeploc.report.outcomes import main_effects, masks_differ, pool_conditions

    main = main_effects(effects, run.better())
    listed = main if verbose else pool_conditions(main, run.read_comparison().positive)
    named = masks_differ(main)
    blocks: dict[tuple[str, str, str], list[Effect]] = {}
    for effect in listed:
        mask = f", {effect.mask} units" if named else ""
        blocks.setdefault((effect.sites, effect.mode, mask), []).append(effect)
    for (sites, mode, mask), block in sorted(blocks.items()):
        _print_block(f"{sites}, {mode} ablation{mask}", block)
    if len(listed) < len(main):
        click.echo("N others: mean over the other N conditions; -v lists every condition")
    click.echo(
        "random: median of the matched random controls\n"
        "p = (1 + controls at least as damaging) / (1 + controls)"
    )
    if any(effect.verdict == "too few controls" for effect in listed):
        click.echo(
            f"too few controls: p can fall to {ALPHA} only with at least {MIN_CONTROLS} matched "
            "random\ncontrols (--controls)"
        )


def _print_block(title: str, block: "Sequence[Effect]") -> None:
    """Print the effects of one kind of site, mode and mask: a subheading per metric."""
    from deeploc.report.text import metric_label

    doses = {effect.percent for effect in block}
    one_dose = f", {min(doses):.3g} %" if len(doses) == 1 else ""
    click.echo(f"{title}{one_dose}")
    by_metric: dict[str, list[Effect]] = {}
    for effect in block:
        by_metric.setdefault(metric_label(effect.task, effect.metric), []).append(effect)
    rows = []
    for metric, group in by_metric.items():
        conditions = [effect.condition for effect in group]
        ordered = sorted(group, key=lambda e: (conditions.index(e.condition), e.percent))
        rows += [[metric], *(_row(effect, with_dose=len(doses) > 1) for effect in ordered)]
    dose = ["dose"] if len(doses) > 1 else []
    head = ["", "intact", *dose, "ablated", "random", "[min, max]", "p", "verdict"]
    print_table(head, rows)
    click.echo()


def _row(effect: "Effect", *, with_dose: bool) -> list[str]:
    from deeploc.report.text import format_number

    controls = effect.controls
    middle = format_number(median(controls)) if controls else "-"
    span = f"[{format_number(min(controls))}, {format_number(max(controls))}]" if controls else "-"
    dose = [f"{effect.percent:g} %"] if with_dose else []
    values = [format_number(effect.intact), *dose, format_number(effect.ablated), middle, span]
    return [f"  {effect.condition or 'all items'}", *values, f"{effect.p:.3f}", effect.verdict]


def print_columns(texts: dict[str, str]) -> None:
    """Print named texts side by side, as wide as the terminal allows."""
    width = _column_width(len(texts))
    _print_beside({name: _wrapped(text, width) for name, text in texts.items()}, width)


def print_guesses(guesses: "Mapping[str, Sequence[Guess]]") -> None:
    """Print named lists of guesses side by side; labels are cut off where the terminal ends."""
    width = _column_width(len(guesses))
    broken = _wrapped("no class: the logits are not finite", width)
    columns = {name: [_guess(g, width) for g in best] or broken for name, best in guesses.items()}
    _print_beside(columns, width)


def _guess(guess: "Guess", width: int) -> str:
    line = f"{guess.probability:6.1%}  {guess.label}"
    return line if len(line) <= width else f"{line[: width - 1]}…"


def width() -> int:
    """Return how many characters a line of the terminal holds; 100 where there is none."""
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def shorten(text: str, width: int) -> str:
    """Return a text on one line, cut off with an ellipsis.

    Parameters
    ----------
    text
        Any text; white space becomes single spaces.
    width
        Most characters; at least 2 are returned where the text is longer.
    """
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: max(width - 1, 1)]}…"


def print_paragraph(text: str, indent: int = 0) -> None:
    """Print text, broken between words where the terminal ends; addresses stay whole.

    Parameters
    ----------
    text
        One or more lines, each of which is broken separately.
    indent
        Spaces before every line.
    """
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
