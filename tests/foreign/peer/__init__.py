"""A peer of quicpool's wire, written from docs/wire.md alone, over aioquic."""
