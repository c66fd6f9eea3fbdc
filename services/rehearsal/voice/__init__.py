"""The local voice: an ear (pocketsphinx) and a mouth (espeak-ng), each in processes of its own."""
