"""38 plays by Shakespeare, sized for a CPU; [in brackets] what to try with a GPU."""

dataset = 'shakespeare'
out_dir = 'out-shakespeare'
n_embd = 256             # thousands of tokens need wider channels than hundreds [512; n_layer = 8]
dropout = 0.0            # three times through the plays: too few to learn them by heart [0.2]
max_steps = 1050         # ten minutes on two cores [5000; batch_size = 64, context = 512]
eval_every = 350         # a look at the held-out plays takes a quarter of a minute
