"""Trials of what may go wrong: experiments run them whole, tests run a slice of each.

`random_nets`: nets drawn within the limits and across them, in every runtime.  `powerloss`,
`saves`: every prefix of what a run of saves asked of the disk.  `kills`: SIGKILL of real
fine-tunes.  `mutate`: changed bundles and slots.  `readers`: what is fuzzed.  Of the store in C:
`flash` (power lost in a chip), `calls` (power lost under dfedge-run), `runner` (its files' bits
flipped, its processes killed).
"""
