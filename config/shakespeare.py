"""38 plays by Shakespeare, sized for a CPU; [in brackets] what to try with a GPU."""

dataset = 'shakespeare'
out_dir = 'out-shakespeare'
n_embd = 256             # thousands of tokens need wider channels than hundreds [512; n_layer = 8]
max_steps = 1050         # three times through [5000; batch_size = 64, context = 512, dropout = 0.2]
eval_every = 350         # a look at the held-out plays takes a quarter of a minute
