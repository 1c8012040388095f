"""Both at once: the Goldberg gains 0.9 bits a note from the Well-Tempered Clavier beside it."""

dataset = 'goldberg,wtc'
out_dir = 'out-bach'
n_layer = 6
n_embd = 192             # six times the notes feed a wider model
max_steps = 1400         # an hour on one core with AVX2 only
weight_decay = 0.1
eval_every = 100
