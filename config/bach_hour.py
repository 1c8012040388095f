"""The same as bach.py with more time: a wider model, and more against learning by heart."""

dataset = 'goldberg,wtc,fugue'
out_dir = 'out-bach-hour'
n_layer = 6
n_embd = 256
dropout = 0.2            # the training part is read 40 times: see the README, "Where it overfits"
max_steps = 3600         # 40 minutes on one core that multiplies bfloat16
adam_lr = 0.006
weight_decay = 0.3
eval_every = 200
