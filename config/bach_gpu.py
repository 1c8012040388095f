"""All of Bach that is here on one GPU of 12 GB or more; several: torchrun --nproc_per_node=N.
Reasoned, not run: no GPU was at hand."""

dataset = 'goldberg,wtc,fugue'
extra = 'quartets,chorales'
out_dir = 'out-bach-gpu'
n_layer = 12             # 38 million weights: sized for far more notes than these; prepare your own
n_head = 8
n_embd = 512             # ... folder, and write dataset = 'goldberg,wtc,fugue,mymidi'
context = 2048           # whole pieces
batch_size = 8
dropout = 0.2
max_steps = 2000
weight_decay = 0.1
eval_every = 100
