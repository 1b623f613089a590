"""What the commands have in common on their command lines."""

import argparse


def number_list(text):
    return [int(n) for n in text.split(",")]


def name_list(text):
    return text.split(",")


def parser(name, description):
    made = argparse.ArgumentParser(
        prog=f"bench/{name}", description=f"{description} Writes docs/benchmarks.md, or, with any "
        "other option than --rounds and --seconds, only shows what it has found.")
    made.add_argument("--write", action="store_true", help="write it all the same")
    made.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    return made


def parse(made):
    """Sets kept: is this to be written?"""
    args = made.parse_args()
    args.kept = args.write or all(
        value == made.get_default(name) for name, value in vars(args).items()
        if name not in ("rounds", "seconds", "parse_only"))
    return args
