# The main Snakefile: `snakemake --cores 2 [--configfile config/sweeps/….yaml]`.
# A config given on the command line stands by itself; it is not merged into the default one.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
    localrule: True
