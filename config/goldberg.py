"""The Goldberg Variations, from scratch, in a few minutes on a laptop's CPU."""

dataset = 'goldberg'
out_dir = 'out-goldberg'
n_layer = 6              # deeper beats wider on so few notes
max_steps = 500          # in the end it knows the training part by heart: see the README's curve
weight_decay = 0.1       # holds that off a little
eval_every = 25          # ... and is watched closely
