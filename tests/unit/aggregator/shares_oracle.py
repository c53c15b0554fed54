"""docs/rules.md, section 10, a second time, read literally: what the tests hold the rules that give shares against."""

from __future__ import annotations

from math import isqrt
from typing import Any

ONE = 1 << 32


def shares(terms: Any, stage: int, S: list[int], G: Any, n: int, e: int) -> tuple[dict[int, int], int]:
    """The part of every row of S, and of what they are parts; no rows where nobody is kept."""
    rule = terms.rules[stage]
    if not S:
        return {}, 1
    if rule.kind == 7:
        return median(S, G, rule.a)
    if rule.kind == 8:
        return clipped(terms, S, G, n, e, rule.a, rule.b)
    return mixed(S, G, rule.a, terms.rules[stage + 1])


def mixed(S: list[int], G: Any, f: int, following: Any) -> tuple[dict[int, int], int]:
    """Mixing, then the rule that follows on the sums' matrix."""
    m = len(S)
    if m < 2 * f + 1:
        return {}, 1
    D = {(i, j): G[i, i] + G[j, j] - 2 * G[i, j] for i in S for j in S}
    N = {i: [i, *sorted((j for j in S if j != i), key=lambda j: (D[i, j], j))[: m - f - 1]] for i in S}
    H = {(i, j): sum(G[x, y] for x in N[i] for y in N[j]) for i in S for j in S}
    parts, whole = median(S, H, following.a) if following.kind == 7 else krum(S, H, following.a, following.b)
    return {j: sum(parts[i] for i in parts if j in N[i]) for j in S}, whole * (m - f)


def krum(S: list[int], H: Any, f: int, keep: int) -> tuple[dict[int, int], int]:
    """Multi-Krum: one part each for the kept."""
    m = len(S)
    if m < 2 * f + 3:
        return {}, 1
    D = {(i, j): H[i, i] + H[j, j] - 2 * H[i, j] for i in S for j in S}
    score = {i: sum(sorted(D[i, j] for j in S if j != i)[: m - f - 2]) for i in S}
    count = keep if 0 < keep <= m - f else m - f
    return dict.fromkeys(sorted(S, key=lambda i: (score[i], i))[:count], 1), count


def median(S: list[int], H: Any, steps: int) -> tuple[dict[int, int], int]:
    """Weiszfeld's iteration."""
    square = {i: max(0, H[i, i]) for i in S}
    t = {i: isqrt(square[i] << 64) for i in S}
    a: dict[int, int] = {}
    least = max(sorted(t.values())[(len(S) - 1) // 2], ONE)
    for step in range(steps + 1):
        if step:
            B = sum(a.values())
            x = {i: sum(a[j] * H[i, j] for j in S) for i in S}
            z = sum(a[i] * x[i] for i in S)
            t, least = {i: isqrt(max(0, B * B * square[i] - 2 * B * x[i] + z)) for i in S}, B
        beta = {i: 2**100 // max(t[i], least) for i in S}
        a = {i: (beta[i] << 32) // sum(beta.values()) for i in S}
    return a, sum(a.values())


def clipped(terms: Any, S: list[int], G: Any, n: int, e: int, a: int, steps: int) -> tuple[dict[int, int], int]:
    """Centred clipping; public row 0 is the row n of G."""
    rate = terms.server_rate_q16

    def cut(product: int, divisor: int) -> int:
        quotient = abs(product) // divisor * (1 if product > 0 else -1)
        return max(-(2**60), min(2**60, quotient))

    u, u0 = {i: cut(G[i, n], rate) for i in S}, cut(G[n, n], rate**2)
    radius = (a << 32) >> e
    s = dict.fromkeys(S, 0)
    for _ in range(steps):
        c = ONE - sum(s.values())
        x = {i: c * u[i] + sum(s[j] * G[i, j] for j in S) for i in S}
        z = c * (c * u0 + sum(s[i] * u[i] for i in S)) + sum(s[i] * x[i] for i in S)
        t = {i: isqrt(max(0, (G[i, i] << 64) - (x[i] << 33) + z)) for i in S}
        clip = {i: ONE if t[i] <= radius else (radius << 32) // t[i] for i in S}
        gain = {i: clip[i] // len(S) for i in S}
        left = ONE - sum(gain.values())
        s = {i: (s[i] * left >> 32) + gain[i] for i in S}
    return s, ONE
