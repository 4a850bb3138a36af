"""Bad inputs that are not refused as they should be yet; a name whose input is refused must go."""

PENDING = frozenset(
    r"""
schedule --memory-gb nan
schedule --memory-gb inf
schedule --memory-gb 1e300
schedule --workers 1000000000000
schedule --duration-error nan
schedule --duration-error inf
schedule --duration-error 1e300
schedule --memory-error nan
schedule --contention nan
schedule --contention inf
schedule --window-s nan
schedule --window-s 0
schedule --window-s -5
map --pairs 1000000000
map --chip isaac --size 100000x100000
map --chip isaac --size 99999999999x1
bench-noise nets:no_layers
bench-noise nets:does_not_run
bench-noise nets:answers_a_table
bench-noise --mu nan
bench-noise --mu inf
bench-noise --mu 1e300
bench-noise --times 1e300
bench-noise --adc-bits 0
bench-noise --adc-bits nan
bench-noise --output-noise nan
bench-noise --output-noise inf
bench-noise --sweep ir_drop=nan
bench-noise --student none
bench-noise --repeats 1000000000000
bench-noise --frames 1000000000000
bench-noise --workers 1000000000
bench-noise --keep-digital nowhere
sensitivity --age 1e300
sensitivity --repeats 1000000000000
sensitivity --frames 1000000000000
evolve [] frame_size = [100000, 100000]
evolve [window] count = 1000000000000
evolve [window] length_s = nan
evolve [window] length_s = inf
evolve [window] upload_frames = 1000000000
evolve [window] recalled = -1
evolve [teacher] tile = 0
evolve [teacher] tile = -1
evolve [refresh] period_h = nan
evolve [refresh] margin = nan
evolve [refresh] doubt = nan
evolve [refresh] lifetime_years = nan
evolve [reference] places = []
evolve [reference] places = ["atlantis"]
evolve [reference] segments_per_place = 0
evolve [reference] segments_per_place = 1000000000
evolve [reference] frames_per_segment = 0
evolve [reference] frames_per_segment = 1000000000
evolve [groups] count = 1000000000
evolve [drift] gamma = nan
evolve [drift] gamma = -1
evolve [drift] gamma = inf
evolve [drift] epsilon = -1
evolve [drift] epsilon = 1000000
evolve [drift] min_samples = 0
evolve [drift] min_samples = -1
evolve [drift] false_alarm_rate = nan
evolve [drift] false_alarm_rate = 2
evolve [drift] false_alarm_rate = 0
evolve [labels] regions = 1000000000
evolve [confirmation] amplify = nan
evolve [confirmation] amplify = 1e300
evolve [confirmation] zoom = nan
evolve [confirmation] zoom = 1e9
evolve [generator] steps = 1000000000000
evolve [generator] weight = nan
evolve [mutual] alpha = nan
evolve [mutual] alpha = 2
evolve [mutual] beta = -1
evolve [mutual] noise_mu = nan
evolve [mutual] noise_mu = -1
evolve [mutual] replay_frames = -1
evolve [mutual] replay_frames = 1000000000
evolve [mutual.plan] steps = 1000000000000
evolve [mutual.plan] batch_size = 1000000000
evolve [mutual.plan] learning_rate = nan
evolve [mutual.plan] learning_rate = 1e300
evolve [distil.plan] learning_rate = inf
evolve [distil] soft_share = 5
evolve [distil] soft_share = nan
evolve [distil] temperature = 0
evolve [distil] temperature = nan
evolve [link] upload_mbit_s = 0
evolve [link] upload_mbit_s = nan
evolve [link] upload_mbit_s = -1
evolve [link] download_mbit_s = 0
evolve [execution] workers = -1
evolve [execution] workers = 1000000000
evolve [execution] memory_gb = 0
evolve [execution] memory_gb = nan
evolve [execution] memory_gb = -1
evolve [execution] memory_gb = inf
evolve [execution] device = "tpu"
evolve [execution] address = ""
evolve [execution] timeout_s = nan
evolve [execution] timeout_s = 0
evolve [execution] profile = "nowhere.safetensors"
evolve [execution] executor = "ray"
evolve [sampling] least_frames = 1000000000
evolve [[terminals]] name = "teacher"
evolve [[terminals]] name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
evolve [[terminals]] name = "c", group = "../../x"
evolve [[terminals]] name = "c", place = "atlantis"
evolve [[terminals]] name = "c", labels = "nowhere.json"
evolve [[terminals]] name = "c", place = "park", position_m = [nan, 0]
evolve-teacher-w.safetensors-empty
evolve-teacher-w.safetensors-binary
evolve-teacher-w.safetensors-utf16
evolve-teacher-w.safetensors-latin1
evolve-teacher-w.safetensors-nul
evolve-teacher-w.safetensors-blank
evolve-teacher-w.safetensors-prose
evolve-teacher-w.safetensors-control
evolve-teacher-w.safetensors-bom
evolve-teacher-w.safetensors-long-line
evolve-teacher-w.safetensors-header-cut
evolve-teacher-w.safetensors-header-endless
evolve-teacher-w.safetensors-header-negative
evolve-teacher-w.safetensors-header-no-json
evolve-teacher-w.safetensors-header-deep
evolve-teacher-w.safetensors-header-list
evolve-teacher-w.safetensors-no-tensors
evolve-teacher-w.safetensors-other-program
evolve-teacher-w.safetensors-metadata-no-text
evolve-teacher-w.safetensors-offsets-wrong
evolve-teacher-w.safetensors-shape-huge
evolve-teacher-w.safetensors-dtype-unknown
evolve-teacher-w.safetensors-no-spec
evolve-teacher-w.safetensors-spec-no-json
evolve-teacher-w.safetensors-spec-deep
evolve-teacher-w.safetensors-spec-empty
evolve-teacher-w.safetensors-spec-unknown-architecture
evolve-teacher-w.safetensors-spec-no-classes
evolve-teacher-w.safetensors-spec-classes-no-text
evolve-teacher-w.safetensors-spec-size-negative
evolve-teacher-w.safetensors-spec-size-zero
evolve-teacher-w.safetensors-spec-size-text
evolve-teacher-w.safetensors-spec-weights-missing
evolve-profile-w.safetensors-folder
evolve-profile-w.safetensors-fifo
evolve-profile-w.safetensors-endless
evolve-profile-w.safetensors-loop
evolve-profile-w.safetensors-empty
evolve-profile-w.safetensors-binary
evolve-profile-w.safetensors-utf16
evolve-profile-w.safetensors-latin1
evolve-profile-w.safetensors-nul
evolve-profile-w.safetensors-blank
evolve-profile-w.safetensors-prose
evolve-profile-w.safetensors-control
evolve-profile-w.safetensors-bom
evolve-profile-w.safetensors-long-line
evolve-profile-w.safetensors-header-cut
evolve-profile-w.safetensors-header-endless
evolve-profile-w.safetensors-header-negative
evolve-profile-w.safetensors-header-no-json
evolve-profile-w.safetensors-header-deep
evolve-profile-w.safetensors-header-list
evolve-profile-w.safetensors-no-tensors
evolve-profile-w.safetensors-other-program
evolve-profile-w.safetensors-metadata-no-text
evolve-profile-w.safetensors-offsets-wrong
evolve-profile-w.safetensors-shape-huge
evolve-profile-w.safetensors-dtype-unknown
evolve-profile-w.safetensors-no-spec
evolve-profile-w.safetensors-spec-no-json
evolve-profile-w.safetensors-spec-deep
evolve-profile-w.safetensors-spec-empty
evolve-profile-w.safetensors-spec-unknown-architecture
evolve-profile-w.safetensors-spec-no-classes
evolve-profile-w.safetensors-spec-classes-no-text
evolve-profile-w.safetensors-spec-size-negative
evolve-profile-w.safetensors-spec-size-zero
evolve-profile-w.safetensors-spec-size-text
evolve-profile-w.safetensors-spec-weights-missing
evolve-profile-w.safetensors-missing
evolve --windows 1000000000000
evolve --workers 1000000000
evolve --executor ray --address local
evolve --executor ray --address x
profile --samples 1000000000000
profile --held-out 1000000000000
profile --passes 1000000000000
profile --minutes nan
compare --seeds 1000000000000
compare --windows 1000000000000
pretrain --model none --steps 1
init fifo --force
init null --force
""".strip().split("\n")
)
