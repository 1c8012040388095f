"""From the Well-Tempered Clavier (train config/wtc.py first) to the Goldberg Variations."""

dataset = 'goldberg'
init_from = 'out-wtc'
out_dir = 'out-goldberg-finetune'
n_layer = 6              # the shape must be that of config/wtc.py
n_embd = 192
dropout = 0.2            # few notes, and a model that is wide for them
max_steps = 100
muon_lr = 0.001          # a twentieth of the usual: at a quarter it forgets, and is best at step 20
adam_lr = 0.0003
weight_decay = 0.1
eval_every = 10
