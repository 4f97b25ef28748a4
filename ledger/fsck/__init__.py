"""The whole log and every table checked against the leaves. `ledger.fsck.run` has the plan."""
