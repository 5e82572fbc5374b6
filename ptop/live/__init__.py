"""The live view on a terminal, and the replay of a recording in it."""
