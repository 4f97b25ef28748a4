"""`make bench B=vitb16`: a whole run at the size of ViT-B/16, for real: 28.3 million target weights at rank 8.

The model, the images and the curvature are those of `make bench B=unlearning`, whose phases run first where
they have no result yet. Then the agent's own steps, without a ledger between them: committing to every chunk,
compensation under a mask of 4 % that touches at most 20 % of the chunks (random scores, selected as the
provider does), the claim's points, a challenge that follows from them, a proof for every touched chunk, and the
provider's check of all of it.

All state lies under var/bench/vitb16. A run that was killed goes on where it stopped when it is called again:
finished chunks are not done twice, and every stage keeps the wall and CPU seconds that it has used so far, over
all runs, up to its last finished part. `--chunks N` is a try: only the model's first 5 N chunks, N of them
touched.

The last line is JSON. `peak_mb` is the largest process of any stage, `proving_peak_mb` the largest that proves. The
paper's figures stand beside it as it gives them, for its own system on 64 virtual cores.
"""

# Every process that proves loads this file again, and its memory is measured: nothing heavy may be imported here.

if __name__ == "__main__":
    from benchmarks import vit_run

    vit_run.main()
