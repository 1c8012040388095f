"""The Well-Tempered Clavier by itself; goldberg_finetune.py goes on from here."""

dataset = 'wtc'
out_dir = 'out-wtc'
n_layer = 6
n_embd = 192             # five times the notes of the Goldberg feed a wider model
max_steps = 1400         # ten minutes on one core that multiplies bfloat16, forty with AVX2 only
weight_decay = 0.1
eval_every = 100
