"""The systems under test."""

CATALOGUE = {
    "model": {
        "early": "harness.models.fusion.early:early",
        "concat": "harness.models.fusion.concat:concat",
        "mean": "harness.models.fusion.mean:mean",
        "late": "harness.models.fusion.late:late",
        "mmtm": "harness.models.fusion.mmtm:mmtm",
        "only-<modality>": "harness.models.subsets:only",
        "without-<modality>": "harness.models.subsets:without",
    },
    "recipe": {"supervised": "harness.models.recipe:Supervised"},
}
