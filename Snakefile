# Base model x calibration set x sparsity: prune, evaluate, compare, report. README.md says how to run it.
from snakemake.utils import min_version

min_version("9.20")

# A grid given with --configfile replaces the demo; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/start.smk"
include: "workflow/rules/base_models.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/pruning.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/planning.smk"


rule all:
    default_target: True
    input:
        TREE.report,
        [f"{TREE.checkpoint}/config.json".format(model=model, submodel=id) for model, id in GRID.kept],


rule fetch:
    input:
        GRID.fetched(),
