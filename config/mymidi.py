"""Your own MIDI folder, after `python prepare.py PATH --name=mymidi`."""

dataset = 'mymidi'       # the --name you gave; or 'mymidi,goldberg' to learn from both: for that,
                         # ... and to go on from its model, prepare yours with --velocity=false
out_dir = 'out-mymidi'
max_steps = 2000         # it stops by itself when validation no longer improves
dropout = 0.1            # over a million notes: 0.0
n_layer = 3              # with a GPU and millions of notes: 12
n_embd = 256             # under 100,000 notes: 128; with a GPU and millions: 512
