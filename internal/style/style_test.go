// Package style holds what gofmt leaves open about how the code is written.
package style

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// maxLine is the longest line, in characters, outside tests.
const maxLine = 120

// unbroken are the folders that may have longer lines still, and stillLong is how
// many they may have in all. Lower it when you have broken some; elsewhere there is
// none.
var unbroken = []string{"broker", "worker", "workflows", "internal/lanes", "internal/steps"}

const stillLong = 500

func TestLines(t *testing.T) {
	left := 0
	for path, text := range sources(t, "../..") {
		waived := slices.ContainsFunc(unbroken, func(folder string) bool { return strings.HasPrefix(path, folder+"/") })
		for i, line := range strings.Split(text, "\n") {
			switch n := utf8.RuneCountInString(line); {
			case n <= maxLine:
			case waived:
				left++
			default:
				t.Errorf("%s:%d has %d characters, the limit is %d: break the line", path, i+1, n, maxLine)
			}
		}
	}
	require.LessOrEqual(t, left, stillLong, "new lines of more than %d characters in %q: break them", maxLine, unbroken)
	if left < stillLong {
		t.Logf("%d lines are longer than %d characters: stillLong, which is %d, can be lowered", left, maxLine, stillLong)
	}
}

// sources are the Go files below root that are not tests, by their path.
func sources(t *testing.T, root string) map[string]string {
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") ||
			d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	}))
	return files
}
