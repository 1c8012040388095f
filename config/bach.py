"""All three at once: the Goldberg gains nearly a bit a note from what else Bach wrote beside it."""

dataset = 'goldberg,wtc,fugue'
out_dir = 'out-bach'
n_layer = 6
n_embd = 192             # nine times the notes feed a wider model
max_steps = 1400         # ten minutes on one core that multiplies bfloat16; more, and it overfits
weight_decay = 0.1
eval_every = 100
