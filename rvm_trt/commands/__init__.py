"""The subcommands of rvm-trt, one per file: each adds its arguments and runs."""
