"""All of Bach's keyboard works that are here, after a start with quartets and chorales."""

dataset = 'goldberg,wtc,fugue'
extra = 'quartets,chorales'      # five times the notes: what they teach of harmony stays
out_dir = 'out-bach'
n_layer = 3              # six of 192 channels learn as much, and draw more slowly
n_embd = 256             # so many notes feed a wider model
n_head = 2               # one counts ids, one reads the clock
max_steps = 2000
weight_decay = 0.1
eval_every = 100
