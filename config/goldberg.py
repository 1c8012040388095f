"""The Goldberg Variations, from scratch, in a few minutes on a laptop's CPU."""

dataset = 'goldberg'
out_dir = 'out-goldberg'
