// Package measure measures the shape of this repository: how large its folders are, how
// many files a walk through the code crosses, how much is exported, how long and how
// often repeated its lines are. `make measure` prints the figures, and a test keeps the
// bars that are met. It reads source files, and needs no tool outside the standard
// library.
package measure

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is a Go file of the repository, in any of its modules.
type File struct {
	Path string // from the repository's root, with slashes
	Text string
}

// Dir is the folder of f, "." for the root.
func (f File) Dir() string { return path.Dir(f.Path) }

// Test reports whether f is for tests only.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Aside reports whether f belongs to what stands beside the library: the benchmark, the
// examples, the linters' module.
func (f File) Aside() bool {
	first, _, _ := strings.Cut(f.Path, "/")
	return slices.Contains([]string{"bench", "examples", "tools"}, first)
}

// Lines are the lines of f.
func (f File) Lines() []string {
	return strings.Split(strings.TrimSuffix(f.Text, "\n"), "\n")
}

// Files returns the Go files under root, sorted by path. Folders that the go command
// does not look at are left out.
func Files(root string) ([]File, error) {
	var all []File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && ignored(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		all = append(all, File{filepath.ToSlash(rel), string(text)})
		return err
	})
	return all, err
}

func ignored(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || dir == "testdata" || dir == "node_modules"
}
