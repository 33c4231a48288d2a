package keyring

import "io/fs"

// own does nothing: a file inherits who may read it from its directory.
func own(string, fs.FileInfo) error { return nil }
