"""A configuration that runs the whole loop in seconds."""

SMALL = """
[gate]
margin = 1.0
total_margin = 1.0
[window]
count = 1
upload_frames = 12
test_frames = 10
[teacher]
tile = 128
[refresh]
policy = "always"
[reference]
places = ["campus", "village", "downtown", "park", "school"]
frames_per_segment = 4
[drift]
gamma = 0.0
min_samples = 1
[mutual.plan]
steps = 2
[distil.plan]
steps = 2
[execution]
workers = 2
memory_gb = 6.0
[[terminals]]
name = "campus"
model = "fasterrcnn-tiny-m1"
place = "campus"
drift = [{ window = 0, kind = "night", strength = 0.5 }]
[[terminals]]
name = "village"
model = "fasterrcnn-tiny-m3"
place = "village"
"""
