"""The embedded data: square scenes that are read at their own size; only flips augment."""

train_pipeline = [
    dict(type="LoadAnnotatedImage"),
    dict(type="LoadBoxedAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadAnnotatedImage"),
    dict(type="Resize", scale_factor=1.0),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
train_dataloader = dict(
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="MappedLVISDataset",
        pipeline=train_pipeline,
        filter_cfg=dict(filter_empty_gt=True, min_size=4),
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="MappedLVISDataset", pipeline=test_pipeline, test_mode=True),
)
