"""The verbs of `ivideo rl ...`. Their help is the first line here; what they do is imported when they are called."""


def drqv2(argv: list[str]) -> int:
    """learn a task from pixels, model-free"""
    from rl.train.commands import drqv2

    return drqv2(argv)


def mbpo(argv: list[str]) -> int:
    """learn a task from pixels, half of it in a world model that learns along"""
    from rl.train.commands import mbpo

    return mbpo(argv)


def report(argv: list[str]) -> int:
    """compare runs: success and return at fixed steps, with intervals"""
    from rl.report.command import main

    return main(argv)


def returns(argv: list[str]) -> int:
    """compare imagined with real returns of the same actions"""
    from rl.imagination.command import main

    return main(argv)


def clone(argv: list[str]) -> int:
    """imitate demonstrations from pixels, and learn how many steps they had left"""
    from rl.reinforce.cloning import main

    return main(argv)


def reinforce(argv: list[str]) -> int:
    """go on learning in the world model, with the steps that are left as reward"""
    from rl.reinforce.command import main

    return main(argv)


def hindsight(argv: list[str]) -> int:
    """learn to reach goals from chained instructions that the world model imagines"""
    from rl.hindsight.command import main

    return main(argv)
