"""From the Well-Tempered Clavier (train config/wtc.py first) to the Goldberg Variations."""

dataset = 'goldberg'
init_from = 'out-wtc'
out_dir = 'out-goldberg-finetune'
n_layer = 6              # the shape must be that of config/wtc.py
n_embd = 192
dropout = 0.2            # few notes, a model that is wide for them
max_steps = 200
muon_lr = 0.005          # a quarter of the usual: keep what the WTC taught
adam_lr = 0.001
weight_decay = 0.1
eval_every = 20
