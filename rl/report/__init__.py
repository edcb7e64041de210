"""What is written down and drawn of reinforcement learning: records while it goes, and reports of many runs.

::

    records    what one run writes: figures, films, curves        command    `ivideo rl report`
    films      a real episode beside the imagined one               table    what the report says, as tables
    curves     success and return against steps                   groups    runs that differ in their seed alone
    plot       axes, lines and bands on paper                 statistics    interquartile means and their intervals
                                                                 metrics    metrics.jsonl, read
"""
