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
        "smil": "harness.models.missing.smil:smil",
        "smil-elbo": "harness.models.missing.smil:smil_elbo",
        "smil-lower": "harness.models.missing.completed:observed_only",
        "zero-imputation": "harness.models.missing.imputation:zero_imputation",
        "mean-imputation": "harness.models.missing.imputation:mean_imputation",
        "autoencoder-imputation": "harness.models.missing.imputation:autoencoder_imputation",
        "only-<modality>": "harness.models.subsets:only",
        "without-<modality>": "harness.models.subsets:without",
    },
    "recipe": {
        "supervised": "harness.models.recipe:Supervised",
        "smil": "harness.models.missing.smil_recipe:Smil",
        "imputation": "harness.models.missing.imputation_recipe:Imputation",
    },
}
