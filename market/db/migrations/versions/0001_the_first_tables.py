"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "blocks",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.Column("timestamp_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_blocks")),
        sa.UniqueConstraint("hash", name=op.f("uq_blocks_hash")),
    )
    op.create_table(
        "documents",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("spec", sa.String(length=66), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("architecture", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "spec", name=op.f("pk_documents")),
    )
    op.create_table(
        "evaluations",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.String(length=66), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("measured_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", "content", "account", name=op.f("pk_evaluations")),
    )
    op.create_table(
        "jobs",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("opened_block", sa.BigInteger(), nullable=False),
        sa.Column("opened_s", sa.BigInteger(), nullable=False),
        sa.Column("opened_transaction", sa.String(length=66), nullable=False),
        sa.Column("spec", sa.String(length=66), nullable=False),
        sa.Column("initial_model", sa.String(length=66), nullable=False),
        sa.Column("model", sa.String(length=66), nullable=False),
        sa.Column("srs_id", sa.String(length=66), nullable=False),
        sa.Column("token", sa.String(length=42), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("seats", sa.SmallInteger(), nullable=False),
        sa.Column("round_reward_wei", sa.String(length=39), nullable=False),
        sa.Column("dimension", sa.BigInteger(), nullable=False),
        sa.Column("has_exam", sa.Boolean(), nullable=False),
        sa.Column("enrol_until_s", sa.BigInteger(), nullable=False),
        sa.Column("deadline_s", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("attempt_start_s", sa.BigInteger(), nullable=True),
        sa.Column("seats_taken", sa.SmallInteger(), nullable=False),
        sa.Column("settled_rounds", sa.Integer(), nullable=False),
        sa.Column("disputed", sa.Boolean(), nullable=False),
        sa.Column("closed_s", sa.BigInteger(), nullable=True),
        sa.Column("exam_published", sa.Boolean(), nullable=False),
        sa.Column("deposited_wei", sa.String(length=39), nullable=False),
        sa.Column("paid_wei", sa.String(length=39), nullable=False),
        sa.Column("refunded_wei", sa.String(length=39), nullable=False),
        sa.Column("burned_wei", sa.String(length=39), nullable=False),
        sa.Column("updated_block", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_closed_s_job"), ["closed_s", "job"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_deadline_s_job"), ["deadline_s", "job"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_owner_job"), ["owner", "job"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_round_reward_wei_job"), ["round_reward_wei", "job"], unique=False)

    op.create_table(
        "nonces",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_nonces")),
    )
    with op.batch_alter_table("nonces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nonces_expires_s"), ["expires_s"], unique=False)

    op.create_table(
        "orphans",
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("kept_block", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name=op.f("pk_orphans")),
    )
    with op.batch_alter_table("orphans", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_orphans_block_hash"), ["block_hash"], unique=False)
        batch_op.create_index(batch_op.f("ix_orphans_ordinal_kept_block"), ["ordinal", "kept_block"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=66), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_account"), ["account"], unique=False)
        batch_op.create_index(batch_op.f("ix_sessions_expires_s"), ["expires_s"], unique=False)

    op.create_table(
        "sync",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("genesis", sa.String(length=66), nullable=False),
        sa.Column("contract", sa.String(length=42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("timestamp_s", sa.BigInteger(), nullable=False),
        sa.Column("rebuilding", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync")),
    )
    op.create_table(
        "uploads",
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("cid", sa.String(length=128), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "cid", name=op.f("pk_uploads")),
    )
    op.create_table(
        "attempts",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("aggregator", sa.String(length=42), nullable=False),
        sa.Column("starts_s", sa.BigInteger(), nullable=False),
        sa.Column("step_q16", sa.Integer(), nullable=False),
        sa.Column("shift", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("committed", sa.SmallInteger(), nullable=False),
        sa.Column("revealed", sa.SmallInteger(), nullable=False),
        sa.Column("excluded", sa.SmallInteger(), nullable=False),
        sa.Column("accepted", sa.SmallInteger(), nullable=True),
        sa.Column("paid", sa.Boolean(), nullable=True),
        sa.Column("pays_wei", sa.String(length=39), nullable=False),
        sa.Column("returned_wei", sa.String(length=39), nullable=False),
        sa.Column("burned_wei", sa.String(length=39), nullable=False),
        sa.Column("vests_s", sa.BigInteger(), nullable=True),
        sa.Column("fee_claimed", sa.Boolean(), nullable=False),
        sa.Column("ended_block", sa.BigInteger(), nullable=True),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("ended_transaction", sa.String(length=66), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("exam", sa.String(length=32), nullable=True),
        sa.Column("rows", sa.SmallInteger(), nullable=False),
        sa.Column("public_rows", sa.SmallInteger(), nullable=False),
        sa.Column("gram", sa.LargeBinary(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_attempts_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "attempt", name=op.f("pk_attempts")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_attempts_aggregator_job_attempt"), ["aggregator", "job", "attempt"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_attempts_aggregator_outcome"), ["aggregator", "outcome"], unique=False)

    op.create_table(
        "bonds",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("aggregator", sa.String(length=42), nullable=False),
        sa.Column("bonded_wei", sa.String(length=39), nullable=False),
        sa.Column("withdrawn_wei", sa.String(length=39), nullable=False),
        sa.Column("broken_wei", sa.String(length=39), nullable=False),
        sa.Column("sealing_key", sa.String(), nullable=False),
        sa.Column("bonded_block", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_bonds_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "aggregator", name=op.f("pk_bonds")),
    )
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_bonds_aggregator_job"), ["aggregator", "job"], unique=False)

    op.create_table(
        "credits",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seat", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("trainer", sa.String(length=42), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("amount_wei", sa.String(length=39), nullable=False),
        sa.Column("vests_s", sa.BigInteger(), nullable=False),
        sa.Column("claimed_block", sa.BigInteger(), nullable=True),
        sa.Column("claimed_transaction", sa.String(length=66), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_credits_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "attempt", "seat", name=op.f("pk_credits")),
    )
    with op.batch_alter_table("credits", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_credits_trainer_job_attempt"), ["trainer", "job", "attempt"], unique=False)

    op.create_table(
        "disputes",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("fact", sa.String(length=32), nullable=False),
        sa.Column("seat", sa.SmallInteger(), nullable=False),
        sa.Column("by", sa.String(length=42), nullable=False),
        sa.Column("bond_wei", sa.String(length=39), nullable=False),
        sa.Column("answer_until_s", sa.BigInteger(), nullable=False),
        sa.Column("holding", sa.SmallInteger(), nullable=False),
        sa.Column("failing", sa.SmallInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=True),
        sa.Column("burned_wei", sa.String(length=39), nullable=False),
        sa.Column("opened_s", sa.BigInteger(), nullable=False),
        sa.Column("resolved_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_disputes_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "ordinal", name=op.f("pk_disputes")),
    )
    op.create_table(
        "events",
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("transaction", sa.String(length=66), nullable=False),
        sa.Column("job", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.String(length=42), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["block_number"], ["blocks.number"], name=op.f("fk_events_block_number"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("block_number", "log_index", "part", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_events_account_block_number_log_index"),
            ["account", "block_number", "log_index"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_events_job_block_number_log_index"), ["job", "block_number", "log_index"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_events_kind_block_number_log_index"), ["kind", "block_number", "log_index"], unique=False
        )

    op.create_table(
        "models",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.String(length=66), nullable=False),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("shift", sa.SmallInteger(), nullable=False),
        sa.Column("commitment", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_models_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "version", name=op.f("pk_models")),
    )
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_models_content"), ["content"], unique=False)

    op.create_table(
        "movements",
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("job", sa.BigInteger(), nullable=False),
        sa.Column("flow", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=True),
        sa.Column("to", sa.String(length=42), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("seat", sa.SmallInteger(), nullable=True),
        sa.Column("amount_wei", sa.String(length=39), nullable=False),
        sa.Column("timestamp_s", sa.BigInteger(), nullable=False),
        sa.Column("transaction", sa.String(length=66), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_movements_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("block_number", "log_index", "part", name=op.f("pk_movements")),
    )
    with op.batch_alter_table("movements", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_movements_account_block_number_log_index"),
            ["account", "block_number", "log_index"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_movements_job_block_number_log_index"), ["job", "block_number", "log_index"], unique=False
        )

    op.create_table(
        "sittings",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seat", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trainer", sa.String(length=42), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("staked_wei", sa.String(length=39), nullable=False),
        sa.Column("committed", sa.Integer(), nullable=False),
        sa.Column("revealed", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("score_q32", sa.String(length=39), nullable=False),
        sa.Column("earned_wei", sa.String(length=39), nullable=False),
        sa.Column("claimed_wei", sa.String(length=39), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_sittings_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "seat", "ordinal", name=op.f("pk_sittings")),
    )
    with op.batch_alter_table("sittings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sittings_trainer_job"), ["trainer", "job"], unique=False)

    op.create_table(
        "updates",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seat", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("trainer", sa.String(length=42), nullable=False),
        sa.Column("seal", sa.String(length=66), nullable=False),
        sa.Column("committed_transaction", sa.String(length=66), nullable=False),
        sa.Column("content", sa.String(length=66), nullable=True),
        sa.Column("commitment", sa.String(), nullable=True),
        sa.Column("revealed_transaction", sa.String(length=66), nullable=True),
        sa.Column("exclusion", sa.String(length=32), nullable=True),
        sa.Column("row", sa.SmallInteger(), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=True),
        sa.Column("weight", sa.BigInteger(), nullable=True),
        sa.Column("score_q32", sa.BigInteger(), nullable=True),
        sa.Column("record_q16", sa.BigInteger(), nullable=True),
        sa.Column("forfeited", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_updates_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "attempt", "seat", name=op.f("pk_updates")),
    )
    with op.batch_alter_table("updates", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_updates_trainer_job_attempt"), ["trainer", "job", "attempt"], unique=False)

    op.create_table(
        "waiting",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("trainer", sa.String(length=42), nullable=False),
        sa.Column("stake_wei", sa.String(length=39), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_waiting_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "trainer", name=op.f("pk_waiting")),
    )
    with op.batch_alter_table("waiting", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_waiting_trainer_job"), ["trainer", "job"], unique=False)


def downgrade() -> None:
    """Back to the one before."""
    with op.batch_alter_table("waiting", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_waiting_trainer_job"))

    op.drop_table("waiting")
    with op.batch_alter_table("updates", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_updates_trainer_job_attempt"))

    op.drop_table("updates")
    with op.batch_alter_table("sittings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sittings_trainer_job"))

    op.drop_table("sittings")
    with op.batch_alter_table("movements", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_movements_job_block_number_log_index"))
        batch_op.drop_index(batch_op.f("ix_movements_account_block_number_log_index"))

    op.drop_table("movements")
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_models_content"))

    op.drop_table("models")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_kind_block_number_log_index"))
        batch_op.drop_index(batch_op.f("ix_events_job_block_number_log_index"))
        batch_op.drop_index(batch_op.f("ix_events_account_block_number_log_index"))

    op.drop_table("events")
    op.drop_table("disputes")
    with op.batch_alter_table("credits", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_credits_trainer_job_attempt"))

    op.drop_table("credits")
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_bonds_aggregator_job"))

    op.drop_table("bonds")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attempts_aggregator_outcome"))
        batch_op.drop_index(batch_op.f("ix_attempts_aggregator_job_attempt"))

    op.drop_table("attempts")
    op.drop_table("uploads")
    op.drop_table("sync")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sessions_expires_s"))
        batch_op.drop_index(batch_op.f("ix_sessions_account"))

    op.drop_table("sessions")
    with op.batch_alter_table("orphans", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_orphans_ordinal_kept_block"))
        batch_op.drop_index(batch_op.f("ix_orphans_block_hash"))

    op.drop_table("orphans")
    with op.batch_alter_table("nonces", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_nonces_expires_s"))

    op.drop_table("nonces")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_round_reward_wei_job"))
        batch_op.drop_index(batch_op.f("ix_jobs_owner_job"))
        batch_op.drop_index(batch_op.f("ix_jobs_deadline_s_job"))
        batch_op.drop_index(batch_op.f("ix_jobs_closed_s_job"))

    op.drop_table("jobs")
    op.drop_table("evaluations")
    op.drop_table("documents")
    op.drop_table("blocks")
