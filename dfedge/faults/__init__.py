"""What happens to what was learned when things go wrong: trials of the store and of every reader.

`powerloss`, `saves`: every prefix of what a run of saves asked of the disk.  `kills`: SIGKILL of
real fine-tunes.  `mutate`: changed bundles and slots.  `readers`: what is fuzzed.  Of the store in
C: `flash` (power lost in a chip), `calls` (power lost under dfedge-run), `runner` (its files' bits
flipped, its processes killed).  Long runs are scripts under examples/experiments/; the tests run a
slice of each.
"""
