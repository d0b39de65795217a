"""The project's source tree: git, files, identity, manifest, and its store on a broker."""
