"""The audit service: sequences the ledger into a Merkle log, signs checkpoints, proves and tells."""
