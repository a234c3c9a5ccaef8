"""``deeploc doctor``."""

from typing import TYPE_CHECKING

import click

from deeploc.cli import _options

if TYPE_CHECKING:
    from deeploc.doctor.caches import Cache
    from deeploc.doctor.examine import Examination
    from deeploc.doctor.hub import Hub
    from deeploc.doctor.packages import Extra

_SHOWN = ("torch", "torchvision", "transformers", "timm", "datasets")
"""The packages whose versions decide what models and data sets can be read."""


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Do not ask whether the hub answers.")
@_options.as_json
def command(offline: bool, as_json: bool) -> None:
    """Say what is installed, which devices there are, and what to repair.

    Packages, devices, caches, plugins, the hub and free disk, in at most about five seconds. The
    exit code is 1 if something is broken; a warning leaves it at 0.
    """
    from deeploc.cli._console import print_json
    from deeploc.doctor.examine import examine

    found = examine(offline=offline)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)
    if any(problem.broken for problem in found.problems):
        raise click.exceptions.Exit(1)


def _print(found: "Examination") -> None:
    from deeploc.cli._console import print_paragraph

    version = found.deeploc or "not installed"
    print_paragraph(f"deeploc {version} · Python {found.python} · {found.platform}")
    _print_packages(found)
    _print_extras(found)
    _print_devices(found)
    _print_caches(found)
    _print_plugins(found)
    click.echo(f"\nhub      {_hub_text(found.hub)}")
    _print_problems(found)


def _print_packages(found: "Examination") -> None:
    from deeploc.cli._console import print_paragraph, print_table

    click.echo()
    shown = [package for package in found.packages if package.name in _SHOWN]
    unfit = [p for p in found.packages if not p.fits and p not in shown]
    rows = [
        [p.name, p.version or "missing", p.needed, "ok" if p.fits else "broken"]
        for p in (*shown, *unfit)
    ]
    print_table(["package", "version", "needed", "state"], rows)
    others = len(found.packages) - len(rows)
    print_paragraph(f"and {others} others that deeploc needs: ok")


def _print_extras(found: "Examination") -> None:
    from deeploc.cli._console import print_paragraph

    click.echo("\nextras")
    for extra in found.extras:
        state = "" if extra.is_complete else "not installed: "
        about = f": {extra.purpose}" if extra.purpose else ""
        print_paragraph(f"{extra.name}{about}", indent=2)
        print_paragraph(f"{state}{_extra_text(extra)}", indent=4)


def _extra_text(extra: "Extra") -> str:
    present = [p for p in extra.packages if p.fits]
    if not extra.is_complete and (not present or len(extra.packages) > 3):
        some = f"{len(present)} of {len(extra.packages)} packages; " if present else ""
        return f"{some}{extra.install}"
    versions = ", ".join(f"{p.name} {p.version or 'missing'}" for p in extra.packages)
    return versions if extra.is_complete else f"{versions}; {extra.install}"


def _print_devices(found: "Examination") -> None:
    from deeploc.cli._console import print_table
    from deeploc.doctor.caches import size_text

    devices = found.devices
    rows = []
    threads = f", {devices.threads} threads" if devices.threads else ""
    for device in devices.devices:
        memory = "" if device.memory is None else size_text(device.memory)
        about = f"{devices.cores} cores{threads}" if device.device == "cpu" else device.name
        rows.append([device.device, memory, about])
    click.echo()
    print_table(["device", "memory", "about"], rows)
    told = {"missing": "torch is not installed: no model can be loaded", "ok": ""}
    if text := told.get(devices.state, "torch did not tell its devices, see below"):
        click.echo(text)


def _print_caches(found: "Examination") -> None:
    from deeploc.cli._console import print_table
    from deeploc.doctor.caches import size_text

    click.echo()
    rows = []
    for cache in found.caches:
        free = "-" if cache.free is None else size_text(cache.free)
        place = f"{cache.path} ({cache.chosen_by})" if cache.chosen_by else cache.path
        rows.append([cache.holds, place, _size_text(cache), free])
    rows.append(["runs", "the current folder", "", size_text(found.free or 0)])
    print_table(["cache", "folder", "size", "free"], rows, n_numeric=2)


def _size_text(cache: "Cache") -> str:
    from deeploc.doctor.caches import size_text

    if cache.size is None:
        return "none yet"
    return ("" if cache.is_counted else "over ") + size_text(cache.size)


def _print_plugins(found: "Examination") -> None:
    from deeploc.cli._console import print_paragraph

    plugins = found.plugins
    state = {"none": "there is none", "read": "ok"}.get(plugins.state, "broken")
    click.echo()
    print_paragraph(f"config   {plugins.config}: {state}")
    names = [f"{p.group} {p.name} ({p.origin} {p.version})" for p in plugins.offered]
    usable = "; ".join(names) or "none but deeploc's own"
    print_paragraph(f"plugins  {usable}")


def _hub_text(hub: "Hub") -> str:
    from deeploc.cache import OFFLINE

    if hub.state == "answers":
        return f"{hub.address} answers in {hub.seconds:.1f} s"
    told = {
        "offline": f"not asked: offline ({' or '.join(OFFLINE)} is set)",
        "not asked": "not asked (--offline)",
    }
    return told.get(hub.state, f"{hub.address} does not answer")


def _print_problems(found: "Examination") -> None:
    from deeploc.cli._console import print_paragraph

    click.echo()
    for problem in found.problems:
        word = "problem" if problem.broken else "warning"
        print_paragraph(f"{word}: {problem.what}; {problem.remedy}")
    if not found.problems:
        click.echo("no problem found")
