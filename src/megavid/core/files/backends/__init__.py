"""Where the files of a `Storage` are: a folder of this machine, or an object store or remote file system."""
