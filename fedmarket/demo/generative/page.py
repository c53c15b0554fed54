"""The generative demo as one page: it needs no scripts, no network, and no other file."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from fedmarket.commands.amounts import money
from fedmarket.demo.generative.pictures import digest_url, image_url
from fedmarket.demo.generative.result import GenerativeResult, VerifierResult, batch_distances, bits_apart
from trainer_client.calibration.figures import called

NOTHING = "–"
HEX_SHOWN = 12
"""Characters of a digest that are shown; all of it is in its title."""


def page(result: GenerativeResult) -> str:
    """The whole page as HTML in UTF-8."""
    style = files("fedmarket.demo.generative").joinpath("page.css").read_text("utf-8")
    parts = [
        _head(result),
        _section("Who was paid, and who was not", _verifiers(result)),
        _section("The images, side by side", _samples(result)),
        _section("How far apart they are", _distances(result)),
        _section("How the tolerance was found", _calibration(result)),
        _section("The model", _training(result)),
        _section("The money, to the wei", _money(result)),
        _section("The audit", _audit(result)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Outputs accepted by consensus: task {result.task}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _head(result: GenerativeResult) -> str:
    count, paid = len(result.verifiers), sum(verifier.verdict == "paid" for verifier in result.verifiers)
    samples = len(result.prompts)
    return (
        "<header>\n<h1>Is this what the model gives?</h1>\n"
        f'<p class="lead">A model that was trained in a federated job drew {samples} digits. {count} verifiers drew '
        f"them again, each on its own, and sealed the digests of what came out before anybody showed any. {paid} of "
        f"{count} agree within {result.tolerance_bits} of 256 bits{_slack(result)}: "
        f"<strong>{escape(result.outcome)}</strong>.</p>\n"
        + _facts(
            [
                ("task", f"{result.task}, in pool {result.pool}"),
                ("seed", str(result.task_seed)),
                ("digest", f"{result.digest_kind}, 256 bits an image"),
                ("a seat", f"earns {money(result.share_wei)}, stakes {money(result.stake_wei)}"),
                ("service", _cid(result.service)),
                ("request", _cid(result.request)),
                ("accepted outputs", NOTHING if result.outputs is None else _cid(result.outputs)),
            ]
        )
        + "</header>\n"
    )


def _slack(result: GenerativeResult) -> str:
    """What the tolerance leaves out, in words."""
    return f", but for {result.allowed} image{'s'[: result.allowed - 1]} at most" if result.allowed else ""


# ------------------------------------------------------------------ verifiers


def _verifiers(result: GenerativeResult) -> str:
    return f'<div class="cards">\n{"".join(_card(result, verifier) for verifier in result.verifiers)}</div>\n'


def _card(result: GenerativeResult, verifier: VerifierResult) -> str:
    medoid = ' <span class="tag">medoid</span>' if verifier.name == result.medoid else ""
    paid = f"+{money(verifier.paid_wei)}" if verifier.paid_wei else money(0)
    lost = f'<span class="lost">−{escape(money(verifier.lost_wei))}</span>' if verifier.lost_wei else ""
    refused = "".join(f"<li>{escape(line)}</li>" for line in verifier.refused)
    return (
        f'<article class="card {verifier.verdict}">\n'
        f"<h3>{escape(verifier.name)}{medoid}</h3>\n"
        f'<p class="what">{escape(verifier.behaviour)} · {escape(verifier.runs)}</p>\n'
        f'<p class="sum"><span class="verdict">{escape(verifier.verdict)}</span> '
        f'<span class="got">{escape(paid)}</span> {lost}</p>\n'
        f"<p>{escape(verifier.why)}</p>\n"
        + (f'<ul class="refused">{refused}</ul>\n' if refused else "")
        + f'<p class="address">{escape(verifier.address)}</p>\n</article>\n'
    )


# ------------------------------------------------------------------ images


def _samples(result: GenerativeResult) -> str:
    legend = (
        '<p class="legend">Each image with its digest below it, 16 × 16 bits. Bits in '
        '<span class="red">red</span> differ from the accepted digest; the number counts them.</p>\n'
    )
    return legend + "".join(_sample(result, number) for number in range(len(result.prompts)))


def _sample(result: GenerativeResult, number: int) -> str:
    accepted = "accepted" if result.accepted[number] else "not accepted"
    figures = "".join(_figure(result, verifier, number) for verifier in result.verifiers)
    return (
        f'<section class="sample">\n<h3>Prompt: {result.prompts[number]} '
        f'<span class="tag {"" if result.accepted[number] else "bad"}">{accepted}</span></h3>\n'
        f'<div class="row">\n{figures}</div>\n</section>\n'
    )


def _figure(result: GenerativeResult, verifier: VerifierResult, number: int) -> str:
    name = escape(verifier.name)
    if not verifier.digests:
        return (
            f'<figure class="{verifier.verdict}"><div class="none" role="img" aria-label="nothing revealed">'
            f'{NOTHING}</div><div class="none"></div><figcaption>{name}<br>nothing revealed</figcaption></figure>\n'
        )
    digest, reference = verifier.digests[number], result.reference
    accepted = reference.digests[number] if reference else None
    apart = "" if accepted is None else _bits(bits_apart(digest, accepted), result.tolerance_bits)
    return (
        f'<figure class="{verifier.verdict}">{_picture(verifier, number)}'
        f'<img class="digest" src="{digest_url(digest, accepted)}" alt="its digest" title="0x{digest.hex()}">'
        f"<figcaption>{name}<br>{apart}<br><code>{digest.hex()[:HEX_SHOWN]}</code></figcaption></figure>\n"
    )


def _picture(verifier: VerifierResult, number: int) -> str:
    if verifier.images is None:
        return f'<div class="none">{NOTHING}</div>'
    return f'<img src="{image_url(verifier.images[number])}" alt="image of {escape(verifier.name)}">'


def _bits(count: int, tolerance_bits: int) -> str:
    return f'<span class="{"near" if count <= tolerance_bits else "far"}">{count} bits</span>'


# ------------------------------------------------------------------ distances


def _distances(result: GenerativeResult) -> str:
    shown = [verifier for verifier in result.verifiers if verifier.digests]
    head = "".join(f'<th scope="col">{escape(verifier.name)}</th>' for verifier in shown)
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th>{"".join(_cell(one, other, result) for other in shown)}</tr>\n'
        for one in shown
    )
    return (
        f'<p class="legend">Bits that differ, at most and on average over the {len(result.prompts)} images. At most '
        f"{result.tolerance_bits} is agreement{_slack(result)}.</p>\n"
        f'<div class="wide" tabindex="0"><table>\n<thead><tr><td></td>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _cell(one: VerifierResult, other: VerifierResult, result: GenerativeResult) -> str:
    apart = batch_distances(one, other)
    if one is other or apart is None:
        return f"<td>{NOTHING}</td>"
    kind = "near" if result.near(apart) else "far"
    return f'<td class="{kind}">{max(apart)} <small>mean {sum(apart) / len(apart):.1f}</small></td>'


# ------------------------------------------------------------------ calibration, model, money, audit


def _calibration(result: GenerativeResult) -> str:
    found = result.calibration
    rows = "".join(
        f'<tr><th scope="row">{escape(called(kind))}</th><td>{bits} or more</td>'
        f"<td>accepted: {found.accepted[kind]}</td></tr>\n"
        for kind, bits in found.other_bits.items()
    )
    return (
        f'<p class="legend">Before the pool was opened, {found.samples:,} other images of this model were drawn by '
        f"{len(found.machines)} machines unlike each other: half to choose by, half to report on, whose figures are "
        f"here. From {found.serve[0]} to {found.serve[1]} bits would do; {result.tolerance_bits} were taken.</p>\n"
        '<div class="wide" tabindex="0"><table>\n<thead><tr><td></td>'
        '<th scope="col">bits apart</th><th scope="col">by a panel of honest machines</th></tr></thead>\n'
        f'<tbody>\n<tr><th scope="row">the same, on two machines</th><td>{found.honest_bits} or fewer</td>'
        f"<td>refused: {found.refused}</td></tr>\n{rows}</tbody>\n</table></div>\n"
        + _facts([("calibration", _cid(found.content)), ("machines", escape("; ".join(found.machines)))])
    )


def _training(result: GenerativeResult) -> str:
    training = result.training
    loss = ", ".join(f"{value:.3f}" for value in training.loss)
    return _facts(
        [
            ("job", f"{training.job}, audited: {'all checks hold' if training.audit.ok else 'a mismatch'}"),
            ("model", f"{escape(training.architecture)}, {training.parameters:,} parameters"),
            ("training", f"{training.trainers} trainers, {training.rounds} rounds, each proven on the chain"),
            ("loss", f"{loss} on samples that nobody trained on, first of the initial model"),
        ]
    )


def _money(result: GenerativeResult) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{amount_wei:,} wei</td></tr>\n'
        for name, amount_wei in result.money.items()
    )
    verdict = "every wei is accounted for" if result.balanced else "the sums do not balance"
    return (
        f'<div class="wide" tabindex="0"><table class="money">\n<tbody>\n{rows}</tbody>\n</table></div>\n'
        f'<p class="{"good" if result.balanced else "bad"}">{verdict}</p>\n'
    )


def _audit(result: GenerativeResult) -> str:
    lines = "".join(
        f'<li class="{check.verdict}"><b>{escape(check.verdict)}</b> {escape(check.name)}, {escape(check.subject)}: '
        f"{escape(check.detail)}</li>\n"
        for check in result.audit.checks
    )
    verdict = "The task's events alone lead to the same verdict." if result.audit_ok else "It does not hold."
    return f'<p class="{"good" if result.audit_ok else "bad"}">{verdict}</p>\n<ul class="audit">\n{lines}</ul>\n'


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>\n" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in rows) + "</dl>\n"


def _cid(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}</section>\n"
