"""From all of Bach (train config/bach.py first) to a few pieces of your own."""

dataset = 'mymidi'       # the --name you gave
init_from = 'out-bach'
out_dir = 'out-finetune'
dropout = 0.2            # few notes, and a model that is wide for them
max_steps = 100
muon_lr = 0.001          # a twentieth of the usual: at a quarter it forgets what it knew
adam_lr = 0.0003
weight_decay = 0.1
eval_every = 10
