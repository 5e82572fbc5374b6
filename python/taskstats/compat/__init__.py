"""Other packages' interfaces on the sources of this one."""
