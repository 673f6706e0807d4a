"""What is known about post-training: the recipe library, and the papers on the network.

`recipes.py` answers from cards that ship with the program and needs no network. `library.py` is the one door to arXiv,
Hugging Face Papers and the citation graph; it caches on disk, keeps to each host's limits across all runs of the
machine, and says which source an answer came from. Nothing here sanitises text from outside: it stays data, and the
caller marks it untrusted.
"""
