# Base model x calibration set x sparsity: prune, evaluate, compare, report. README.md says how to run it.
from snakemake.utils import min_version

min_version("9.20")

# A grid given with --configfile replaces the demo; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/base_models.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/pruning.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/planning.smk"


onstart:
    refuse_orphans()
    for language, hint in MISSING_TOOLCHAINS.items():
        logger.warning(f"{language} programs will not run and are listed as not run: {hint}")


rule all:
    default_target: True
    input:
        layout.REPORT,
        get_kept(),


rule fetch:
    input:
        GRID.fetched(),
