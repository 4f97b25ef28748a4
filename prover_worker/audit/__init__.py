"""The offline verifier: checks an audit bundle without the server, believing nothing but two public keys.

    unlearning-verify BUNDLE.zip [--log-vkey VKEY] [--provider-key HEX] [--witness VKEY ...] [--quorum N]
                      [--checkpoint NOTE ...] [--proofs all|N|points|none] [--jobs N] [--json]

The plan, one line of the table each. The first thing that does not hold is named, nothing after it is looked at.

 1. bundle      the file has the one form that a bundle has (`ledger.bundle`), and every line of it can be read;
 2. checkpoint  the final checkpoint carries the log's signature;
 3. witnesses   and cosignatures of a quorum of the witnesses given;
 4. inclusion   every statement stands in it at its index;
 5. kept        checkpoints that the auditor has kept are pasts of it;
 6. signatures  every statement is signed by whom it must be at its place: the provider, or a client whose key was
                enrolled with proof of possession and not revoked (`ledger.statements.keyring`);
 7. events      commitment before mask before order before claim before challenge before proof before verdict before
                certificate, each referring to the right earlier one (`ledger.statements.rules`);
 8. policy      coverage, quorum and due dates are as logged, and certificates say of each order what verdicts say;
 9. challenges  every challenge's checkpoint is signed, covers its claim, and is a past of the final one; the random
                elements are derived again, and with a sample the chunks that had to be proved;
10. files       the files are exactly those that statements name, with their digests; point files have their roots;
11. masks       every verdict counts the chunks that the mask touches, every accepted proof is about those drawn;
12. proofs      every proof (or a sample, or only the commitments that it begins with) is verified again, and the
                verdict in the log says what that gave, chunk by chunk; so is every proof that a later version of a
                model keeps the zeros of earlier windows;
13. erasure     what was said about erased requests: nothing that is missing by law is a fault.

Steps 1 to 11 and 13 need neither ezkl nor torch nor Django, nor does `--proofs points`. Memory is bounded by the
statements and the largest single file; no length that the bundle states is believed.

Exit status: 0 everything that was checked holds; 1 something does not; 2 the file is no bundle or cannot be read,
or the command line is wrong; 3 what was asked for cannot be checked here (no ezkl, proofs left out).
"""
