"""Do all runtimes hold the same bits?  Golden batches replayed, and random nets exported."""
