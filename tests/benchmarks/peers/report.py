"""What a peer's run is compared by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeerReport:
    """One statement, proven once and measured.

    Attributes:
        constraints: multiplication gates, or rows of the table.
        universal_setup_s: set-up that serves any circuit of this size, and could be downloaded.
        circuit_setup_s: set-up that serves this statement alone.
        prove_s: median, with the witness's computation.
        verify_s: median.
        peak_mib: of the process that proves, alone.
    """

    name: str
    version: str
    trainers: int
    dimension: int
    constraints: int
    universal_setup_s: float
    circuit_setup_s: float
    prove_s: float
    verify_s: float
    peak_mib: float
    proof_bytes: int
    proving_key_bytes: int
    verifying_key_bytes: int

    @property
    def multiplications(self) -> int:
        """Products of two entries in the upper triangle: n(n+1)/2 · d."""
        return self.trainers * (self.trainers + 1) // 2 * self.dimension

    @property
    def microseconds_per_multiplication(self) -> float:
        """Time to prove one product."""
        return self.prove_s * 1e6 / self.multiplications
