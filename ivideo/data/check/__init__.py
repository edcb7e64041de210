"""A doctor for data sets: `ivideo data check`.

::

    reading      every file once, each episode to a            findings     the lints: code, rule, threshold, remedy
      |          digest of a few kilobytes (digest)            report       screen, Markdown, JSON, pictures
    inspection   all lints over the digests                    trial        faults planted and looked for
      |--- lints     frames, copies, kinds, columns, rewards
      |--- looks     BGR, upside down, mirrored: by vote
      `--- answers   lag, scale, sign: by regression of actions on motion (motion)
"""
