"""What runs on the device: sessions, the state store, learning and scoring.  No torch."""
