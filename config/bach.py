"""All three at once: the Goldberg gains nearly a bit a note from what else Bach wrote beside it."""

dataset = 'goldberg,wtc,fugue'
out_dir = 'out-bach'
n_layer = 6
n_embd = 192             # nine times the notes feed a wider model
dropout = 0.3            # with less, it overfits at this length
max_steps = 2000         # ten to twenty minutes on two cores that multiply bfloat16
weight_decay = 0.1
eval_every = 100
