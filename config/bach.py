"""All three at once: the Goldberg gains nearly a bit a note from what else Bach wrote beside it."""

dataset = 'goldberg,wtc,fugue'
out_dir = 'out-bach'
n_layer = 6
n_embd = 192             # nine times the notes feed a wider model
max_steps = 2000
adam_lr = 0.006          # twice the default: more notes bear it
weight_decay = 0.3
eval_every = 100
