package imports

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// insides are exported for their siblings, without a promise: nobody who uses the
// module has to name them. (The example that the demo kills has internal/fault.)
var insides = []string{"broker", "workflows", "activities", "saga/core"}

func inside(path string) bool {
	name, ours := local(path)
	if !ours {
		return false
	}
	return strings.HasPrefix(name, "internal/") && name != "internal/fault" ||
		slices.ContainsFunc(insides, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
}

// TestUsersNeedNoInsides: the examples import only what is made for users.
func TestUsersNeedNoInsides(t *testing.T) {
	seen := 0
	for path, p := range list(t) {
		if !strings.HasPrefix(path, "examples/") {
			continue
		}
		seen++
		for _, imported := range p.Imports {
			if inside(imported) {
				t.Errorf("%s imports %s: give what it needs a name in the root, saga or worker", path, imported)
			}
		}
	}
	require.Greater(t, seen, 5)
}

var (
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	named   = regexp.MustCompile(`\b(broker|workflows|activities|core)\.[A-Z]\w*`)
)

// TestPagesNameNoInsides: neither does the Go on the pages.
func TestPagesNameNoInsides(t *testing.T) {
	pages, err := filepath.Glob("../../*.md")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir("../../docs", func(path string, d fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	}))
	require.Greater(t, len(pages), 20)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range goBlock.FindAllStringSubmatch(string(text), -1) {
			require.Empty(t, named.FindAllString(block[1], -1), "%s: give it a name in the root, saga or worker", page)
		}
	}
	require.NotEmpty(t, named.FindString("x := workflows.SagaStatus{}"), "it would be found")
}
