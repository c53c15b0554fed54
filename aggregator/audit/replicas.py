"""What a job's replicas found, where its terms ask for any: from their tasks, and from the rounds' proven matrices.

A replica that deviates breaks no promise of the chain's: it is named, and the audit holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.audit.chain_record import ChainRecord
from aggregator.audit.documents import read_document
from aggregator.audit.report import Check, judge
from aggregator.replicas import compare_replicas, deviating
from market.chain.output_consensus import OutputConsensus
from market.job_history import Attempt
from market.protocol.consensus import Outcome
from market.protocol.errors import FedmarketError
from market.protocol.gram_matrix import GramMatrix
from market.protocol.job_spec import JobSpec
from market.protocol.replication_spec import ReplicationSection
from market.replicas import IntervalFinding, JobReplicas
from market.storage import ContentReader

NAME = "replicas"


def check_replicas(record: ChainRecord, store: ContentReader, consensus: OutputConsensus | None) -> Iterator[Check]:
    """Every interval that the job's terms ask for, and every round in which seats say that they trained alike.

    Args:
        record: the job.
        store: where its document is.
        consensus: the contract that the replicas' tasks are in, as of the same block; None where it is not known.
    """
    try:
        spec = read_document(record, store).spec
    except FedmarketError:
        return  # what is wrong with the document is the documents' check to say
    section = spec.replication
    if section is None:
        return
    if consensus is None:
        yield Check(NAME, "job", "unproven", "this deployment has no contract that replicas could be asked for in")
    else:
        yield from _interval_checks(record, consensus, spec)
    if section.seats_compared:
        for attempt in record.history.settlements():
            yield _matrix_check(record, attempt, section)


def _interval_checks(record: ChainRecord, consensus: OutputConsensus, spec: JobSpec) -> Iterator[Check]:
    for finding in JobReplicas(consensus, record.job, spec).findings(record.state.round):
        yield judge(NAME, f"round {finding.round}", (), finding.sentence(), unproven=_open_question(finding))


def _open_question(finding: IntervalFinding) -> str:
    """What the replicas of an interval leave unproven."""
    return "" if finding.outcome is Outcome.ACCEPTED else finding.sentence()


def _matrix_check(record: ChainRecord, attempt: Attempt, section: ReplicationSection) -> Check:
    """How alike the updates of seats are that say that they trained alike, by what the round's proof has of them."""
    subject = record.subject(attempt.number)
    if attempt.proven is None:
        return Check(NAME, subject, "unproven", "no matrix was published")
    try:
        matrix = GramMatrix.unpack(attempt.proven.gram, len(attempt.rows), attempt.examined)
    except FedmarketError as problem:
        return Check(NAME, subject, "unproven", str(problem))
    pairs = compare_replicas(matrix, attempt.rows, section.seats_compared)
    if not pairs:
        return Check(NAME, subject, "unproven", "fewer than two of the seats to compare handed in an update")
    told = ", ".join(f"seats {pair.seats[0]} and {pair.seats[1]} by {pair.bits:.0f}" for pair in pairs)
    found = deviating(pairs, section.tolerance_bits)
    named = f"; deviating: {' '.join(map(str, found))}" if found else ""
    return Check(NAME, subject, "ok", f"by the proven matrix digests differ, of 256 bits, {told}{named}")
