"""The systems under test."""

CATALOGUE = {
    "model": {
        "early": "harness.models.fusion.early:early",
        "concat": "harness.models.fusion.concat:concat",
        "mean": "harness.models.fusion.mean:mean",
        "late": "harness.models.fusion.late:late",
        "mmtm": "harness.models.fusion.mmtm:mmtm",
        "mbt": "harness.models.fusion.mbt:mbt",
        "mbt-early": "harness.models.fusion.mbt:mbt_early",
        "mbt-late": "harness.models.fusion.mbt:mbt_late",
        "attention": "harness.models.fusion.mbt:attention",
        "attention-early": "harness.models.fusion.mbt:attention_early",
        "perceiver": "harness.models.fusion.perceiver:perceiver",
        "only-<modality>": "harness.models.subsets:only",
        "without-<modality>": "harness.models.subsets:without",
    },
    "recipe": {"supervised": "harness.models.recipe:Supervised"},
}
