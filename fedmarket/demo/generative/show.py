"""The generative demo's outcome in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedmarket.commands.amounts import money, short
from fedmarket.demo.generative.result import GenerativeResult, Images, VerifierResult, batch_distances
from fedmarket.demo.show import gas_table
from trainer_client.calibration.figures import called

SHADES = " ░▒▓█"
PIXEL = 2
"""Characters of a pixel's width: they are twice as high as wide."""
SHOWN = 2
"""Samples that are drawn with characters."""

STYLES = {"paid": "green", "spared": "yellow", "penalised": "red"}


def show(result: GenerativeResult, console: Console) -> None:
    """Print everything, in the order in which a person asks."""
    training = result.training
    console.print(
        f"\nThe model: {training.architecture}, {training.parameters:,} parameters, job {training.job}, "
        f"{training.rounds} rounds of {training.trainers} trainers; loss "
        + ", ".join(f"{value:.3f}" for value in training.loss),
        highlight=False,
    )
    _measured(result, console)
    for number in range(min(SHOWN, len(result.prompts))):
        console.print(_drawing(result, number))
    gas = gas_table("Gas of the task's calls", result.gas)
    for table in (_verifiers(result), _distances(result), _money(result), gas):
        console.print(table)
    _reasons(result, console)
    _verdicts(result, console)


def _measured(result: GenerativeResult, console: Console) -> None:
    """Where the tolerance is from."""
    found = result.calibration
    others = ", ".join(f"{called(kind)} at least {bits}" for kind, bits in found.other_bits.items())
    console.print(
        f"The tolerance: {result.tolerance_bits} bits, measured on {found.samples:,} other images of this model, on "
        f"{len(found.machines)} ways of running it: these differ by at most {found.honest_bits} bits, {others}.",
        highlight=False,
    )


def sketch(image: np.ndarray) -> list[str]:
    """An image, (height, width) in 0..1, as lines of shades."""
    levels = np.rint(np.clip(image, 0, 1) * (len(SHADES) - 1)).astype(int)
    return ["".join(SHADES[level] * PIXEL for level in row) for row in levels]


def _drawing(result: GenerativeResult, number: int) -> Table:
    """One sample of everybody who revealed, side by side."""
    title = f"Prompt {result.prompts[number]}, sample {number}"
    table = Table(title=title, title_justify="left", show_header=True, box=None)
    cells = []
    for verifier in result.verifiers:
        if verifier.images is not None:
            table.add_column(Text(verifier.name, style=STYLES[verifier.verdict]))
            cells.append("\n".join(sketch(_image(verifier.images, number))))
    table.add_row(*cells)
    return table


def _image(images: Images, number: int) -> np.ndarray:
    return np.asarray(images[number])


def _verifiers(result: GenerativeResult) -> Table:
    table = Table(title="Verifiers", title_justify="left")
    table.add_column("verifier", no_wrap=True)
    table.add_column("behaviour", no_wrap=True)
    for column in ("bits apart", "paid", "lost"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verifier in result.verifiers:
        table.add_row(*_cells(result, verifier), style=STYLES[verifier.verdict])
    return table


def _cells(result: GenerativeResult, verifier: VerifierResult) -> Sequence[str]:
    medoid = " (medoid)" if verifier.name == result.medoid else ""
    apart = None if result.reference is None else batch_distances(verifier, result.reference)
    bits = "" if apart is None else f"{min(apart)} to {max(apart)}"
    paid = money(verifier.paid_wei) if verifier.paid_wei else ""
    lost = money(verifier.lost_wei) if verifier.lost_wei else ""
    return (verifier.name, verifier.behaviour, bits, paid, lost, verifier.verdict + medoid)


def _distances(result: GenerativeResult) -> Table:
    slack = f", all but {result.allowed} of {len(result.prompts)}" if result.allowed else ""
    table = Table(title=f"Most bits apart of 256; at most {result.tolerance_bits} agree{slack}", title_justify="left")
    shown = [verifier for verifier in result.verifiers if verifier.digests]
    table.add_column("")
    for verifier in shown:
        table.add_column(verifier.name, justify="right")
    for one in shown:
        table.add_row(one.name, *(_distance(one, other, result) for other in shown))
    return table


def _distance(one: VerifierResult, other: VerifierResult, result: GenerativeResult) -> Text:
    apart = batch_distances(one, other)
    if one is other or apart is None:
        return Text("–", style="dim")
    return Text(str(max(apart)), style="green" if result.near(apart) else "red")


def _money(result: GenerativeResult) -> Table:
    table = Table(title="The consensus contract's money, to the wei", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, amount_wei in result.money.items():
        table.add_row(name, f"{amount_wei:,} wei")
    table.add_row("balanced", "yes" if result.balanced else "NO")
    return table


def _reasons(result: GenerativeResult, console: Console) -> None:
    """What each ran, and why it was paid or not."""
    for verifier in result.verifiers:
        who = f"{verifier.name}, {short(verifier.address)}, runs {verifier.runs}."
        console.print(f"{who} {verifier.why}", style=STYLES[verifier.verdict], highlight=False)
        for line in verifier.refused:
            console.print(f"  refused by the contract: {line}", style="red", highlight=False)


def _verdicts(result: GenerativeResult, console: Console) -> None:
    spent = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in result.seconds.items())
    console.print(f"Time: {spent}", highlight=False)
    console.print(f"Task {result.task}: {result.outcome}")
    training = result.training.audit
    style = "green" if training.ok else "red"
    verdict = "all hold" if training.ok else "a mismatch"
    console.print(f"[{style}]Audit of the job: {len(training.checks)} checks: {verdict}.[/{style}]")
    style = "green" if result.audit_ok else "red"
    verdict = "comes to the same" if result.audit_ok else "does NOT come to the same"
    count = len(result.audit.checks)
    console.print(f"[{style}]Audit of the task: {count} checks from its events alone: it {verdict}.[/{style}]")
