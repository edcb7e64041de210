"""What policies are worth, told from a world model: roll them out in it, judge the dreams, compare with the truth."""
