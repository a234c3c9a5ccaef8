"""What the commands print of a run: its verdict, and with -v every effect."""

from collections.abc import Sequence
from math import isnan
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli._console import print_json, print_paragraph, print_table, width

if TYPE_CHECKING:
    from deeploc.core.advantage import Advantage
    from deeploc.core.effects import Effect
    from deeploc.core.responses import Profile, Response, Units
    from deeploc.runs.folder import RunFolder

_GROUPS: "tuple[Units, Units]" = ("selected", "random")
"""The groups of units whose responses are printed."""


def print_results(
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
        Whether every effect is printed above the verdict.
    profile
        Whether profile, reliability, untrained copy and massive activations are printed below.
    """
    from deeploc.runs.saved_run import SavedRun

    effects, advantages = run.read_effects(), SavedRun(run).advantages
    if as_json:
        from dataclasses import asdict

        rows = [{**asdict(e), "z": e.z, "p": e.p} for e in effects]
        verdict = run.read_verdict()
        print_json(
            {
                "run": str(run.path),
                "verdict": verdict and verdict.to_json(),
                "effects": rows,
                "advantages": [{**asdict(a), "p": a.p} for a in advantages],
                **selection_json(run),
            }
        )
        return
    if verbose:
        _print_effects(effects, run)
        if profile:
            print_profile(run)
            print_reliability(run)
            print_massive(run)
            print_untrained(run)
    print_verdict(run)
    _print_advantages(advantages)
    click.echo(f"every metric: {run.scores}")
    click.echo(f"report:       {run.report}")


def selection_json(run: "RunFolder") -> dict[str, Any]:
    """Return what a run says of its selection as JSON; null where it says nothing."""
    from dataclasses import asdict

    profile, reliability = run.read_profile(), run.read_reliability()
    untrained, massive = run.read_untrained(), run.read_massive()
    responses = [asdict(row) for row in profile.responses] if profile else []
    return {
        "profile": {**profile.to_json(), "responses": responses} if profile else None,
        "reliability": reliability.to_json() if reliability else None,
        "massive": massive.to_json() if massive else None,
        "untrained": untrained.to_json() if untrained else None,
    }


def print_reliability(run: "RunFolder") -> None:
    """Print two lines per kind of site on how far its selection can be relied on."""
    from deeploc.report.text import describe_missing, describe_reliability

    reliability = run.read_reliability()
    if reliability is None:
        return
    statistic = _symbol(run)
    for kind in reliability.kinds:
        for line in describe_reliability(reliability, kind.sites, statistic):
            print_paragraph(line)
    for line in describe_missing(reliability):
        print_paragraph(line)
    click.echo()


def print_massive(run: "RunFolder") -> None:
    """Print which activations are massive, and how many of the selected units hold one."""
    from deeploc.report.massive_text import describe_massive

    massive = run.read_massive()
    if massive is None:
        return
    for line in describe_massive(massive, run.read_mask()):
        print_paragraph(line)
    click.echo()


def print_untrained(run: "RunFolder") -> None:
    """Print a line per kind of site on what is selected in an untrained copy of the model."""
    from deeploc.core.untrained import Untrained
    from deeploc.report.untrained_text import describe_untrained

    for line in describe_untrained(run.read_untrained() or Untrained()):
        print_paragraph(line)
    click.echo()


def _symbol(run: "RunFolder") -> str:
    from deeploc.report.statistic_text import words_of

    return words_of(run.read_plain_manifest().get("contrast") or {}).symbol


def print_profile(run: "RunFolder") -> None:
    """Print the mean z of selected and random units per condition, and the test of the contrast."""
    from deeploc.report.nothing_selected import without_units
    from deeploc.report.text import format_test

    profile = run.read_profile()
    if profile is None:
        return
    stimuli = "held-out stimuli" if profile.held_out else "the localizing stimuli (not held out)"
    empty = without_units(run)
    kinds = [kind for kind in profile.kinds if kind not in empty]
    if kinds:
        click.echo()
        print_paragraph(f"response to {stimuli}, units standardized: mean z [95 % CI]")
        _print_responses(profile, kinds)
        click.echo()
        print_paragraph(f"contrast on {stimuli}")
        tests = []
        for kind in kinds:
            test, chance = (profile.preference(kind, units) for units in _GROUPS)
            tests.append([kind, format_test(test), format_test(chance, short=True)])
        print_table(["sites", "selected units", "random units"], tests)
    click.echo()
    for kind, why in empty.items():
        print_paragraph(f"{kind}: {why}")
    if empty:
        click.echo()


def _print_responses(profile: "Profile", kinds: "Sequence[str]") -> None:
    selected, random = (
        [row for kind in kinds for row in profile.of(kind, units)] for units in _GROUPS
    )
    rows = [[a.sites, a.condition, _z(a), _z(b)] for a, b in zip(selected, random, strict=True)]
    print_table(["sites", "condition", "selected units", "random units"], rows)


def _z(row: "Response") -> str:
    if isnan(row.z):
        return "-"
    text = f"{row.z:z5.2f}"
    if not isnan(row.z_low):  # there is none of a single stimulus
        text += f" [{row.z_low:z.2f}, {row.z_high:z.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def print_verdict(run: "RunFolder") -> None:
    """Print the answers about the network at each kind of site, a line a question."""
    import textwrap

    from deeploc.cli._colour import coloured
    from deeploc.report.nothing_selected import without_units
    from deeploc.report.verdict_text import conclusion, lines_of, rule_of, title_of

    verdict = run.read_verdict()
    if verdict is None:
        return
    manifest, columns = run.read_plain_manifest(), min(width(), 80)
    empty = without_units(run)
    for network in verdict.networks:
        title = title_of(network, manifest["contrast"]["name"], manifest["address"])
        click.echo(textwrap.fill(title, columns, subsequent_indent="  ", break_long_words=False))
        for question, reply, reason in lines_of(network, verdict, _symbol(run)):
            head = f"  {question:<10} {reply:<7} "
            rest = " " * len(head)
            broken = textwrap.fill(f"{head}{reason}", columns, subsequent_indent=rest)
            click.echo(coloured(broken, reply))
        sentence = conclusion(network, empty.get(network.sites, "no unit was selected"))
        click.echo(f"{textwrap.fill(sentence, columns)}\n")
    click.echo(textwrap.fill(rule_of(verdict), columns))


def _print_advantages(advantages: "Sequence[Advantage]") -> None:
    """Print what the selected units tell, beside as many units at random."""
    from deeploc.report.advantages import explanation, tables_of

    for title, head, rows in tables_of(advantages):
        click.echo()
        print_paragraph(title)
        print_table(head, rows)
    if advantages:
        click.echo()
        print_paragraph(explanation(advantages))
        click.echo()


def _print_effects(effects: "Sequence[Effect]", run: "RunFolder") -> None:
    """Print a table per kind of site, mode and mask: the main metric of each task at every dose."""
    from deeploc.core.effects import MIN_CONTROLS
    from deeploc.core.modes import manner
    from deeploc.core.stats import ALPHA
    from deeploc.report.outcomes import main_effects, masks_differ

    main = main_effects(effects, run.better())
    named = masks_differ(main)
    blocks: dict[tuple[str, str, str], list[Effect]] = {}
    for effect in main:
        mask = f", {effect.mask} units" if named else ""
        blocks.setdefault((effect.sites, effect.mode, mask), []).append(effect)
    for (sites, mode, mask), block in sorted(blocks.items()):
        _print_block(f"{sites}, {mode} {manner(mode)}{mask}", block)
    print_paragraph(
        "random: median of the matched random controls; further controls below, by name\n"
        "z: damage beyond their mean, in their SDs\n"
        "q: p = (1 + controls at least as damaging) / (1 + controls), adjusted over all\n"
        "effects of the run (Benjamini-Hochberg)"
    )
    if any(len(effect.controls) < MIN_CONTROLS for effect in main):
        print_paragraph(
            f"p can fall to {ALPHA} only with at least {MIN_CONTROLS} matched random controls "
            "(--controls)"
        )


def _print_block(title: str, block: "Sequence[Effect]") -> None:
    """Print the effects of one kind of site, mode and mask: a subheading per metric."""
    from deeploc.report.text import metric_label

    doses = {effect.percent for effect in block}
    one_dose = f", {min(doses):.3g} %" if len(doses) == 1 else ""
    print_paragraph(f"{title}{one_dose}")
    by_metric: dict[str, list[Effect]] = {}
    for effect in block:
        by_metric.setdefault(metric_label(effect.task, effect.metric), []).append(effect)
    rows = []
    for metric, group in by_metric.items():
        conditions = [effect.condition for effect in group]
        ordered = sorted(group, key=lambda e: (conditions.index(e.condition), e.percent))
        rows.append([metric])
        for effect in ordered:
            rows.append(_row(effect, with_dose=len(doses) > 1))
            rows += _rows_of_controls(effect, with_dose=len(doses) > 1)
    dose = ["dose"] if len(doses) > 1 else []
    head = ["", "intact", *dose, "ablated", "random", "[min, max]", "z", "q"]
    print_table(head, rows)
    click.echo()


def _row(effect: "Effect", *, with_dose: bool) -> list[str]:
    from deeploc.report.text import format_number

    controls = effect.controls
    middle = format_number(median(controls)) if controls else "-"
    span = f"[{format_number(min(controls))}, {format_number(max(controls))}]" if controls else "-"
    dose = [f"{effect.percent:g} %"] if with_dose else []
    values = [format_number(effect.intact), *dose, format_number(effect.ablated), middle, span]
    return [f"  {effect.condition or 'all items'}", *values, _z_text(effect.z), _q_text(effect.q)]


def _rows_of_controls(effect: "Effect", *, with_dose: bool) -> list[list[str]]:
    """Return a row for each further control, of plugins too: they stand below the random ones."""
    from deeploc.report.outcomes import unmatched_controls
    from deeploc.report.text import format_number

    rows = []
    for name, values in unmatched_controls(effect).items():
        span = f"[{format_number(min(values))}, {format_number(max(values))}]"
        spread = span if len(values) > 1 else ""
        dose = [f"{effect.percent:g} %"] if with_dose else []
        rows.append([f"    {name}", "", *dose, "", format_number(median(values)), spread, "", ""])
    return rows


def _z_text(z: float) -> str:
    from deeploc.report.text import format_number

    return "-" if isnan(z) else format_number(z)


def _q_text(q: float) -> str:
    return "-" if isnan(q) else f"{q:.2f}"
