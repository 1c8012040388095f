"""The Well-Tempered Clavier: five times the notes of the Goldberg, so it overfits later."""

dataset = 'wtc'
out_dir = 'out-wtc'
