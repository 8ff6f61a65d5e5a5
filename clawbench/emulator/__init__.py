"""The emulator: providers from the other side, as bytes and times, without a socket or a clock."""
