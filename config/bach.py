"""Both at once: the Goldberg gains 1.3 bits a note from the Well-Tempered Clavier beside it."""

dataset = 'goldberg,wtc'
out_dir = 'out-bach'
n_layer = 6
n_embd = 192             # six times the notes feed a wider model
max_steps = 1400         # ten minutes on two cores
weight_decay = 0.1
eval_every = 100
