"""The Goldberg Variations, from scratch, in a few minutes on a laptop's CPU."""

dataset = 'goldberg'
out_dir = 'out-goldberg'
n_layer = 3              # six learn no more of so few notes, in twice the time
n_head = 2               # one counts ids, one reads the clock
max_steps = 250          # more, and it learns the training part by heart
weight_decay = 0.1
eval_every = 25          # ... which is watched closely
dropout = 0.1            # few notes
