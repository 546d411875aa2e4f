"""Questions asked of nets and bounds: flags, files and figures live here only."""
