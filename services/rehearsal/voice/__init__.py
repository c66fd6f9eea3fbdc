"""The local voice: a speech recogniser (pocketsphinx) and a synthesiser (espeak-ng), each in its own process."""
