"""Living in a world model: dreams that are played, rewound, forked, changed and saved, at a page or without one."""
