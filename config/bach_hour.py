"""config/bach.py, twice as long (and of the shape that it had when this was run)."""

dataset = 'goldberg,wtc,fugue'
extra = 'quartets,chorales'
fading = 1.0             # so long a run would learn Bach's few notes by heart sooner
out_dir = 'out-bach-hour'
n_layer = 6
n_embd = 192
n_head = 2
dropout = 0.1            # more of it would be learned by heart (reasoned, not measured)
max_steps = 4000
weight_decay = 0.1
eval_every = 200
