package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	questionRow = regexp.MustCompile(`(?m)^\| ([0-9]+) \| ([^|]+\?) \| (.+) \|$`)
	pageLink    = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)
	testName    = regexp.MustCompile(`^Test\w+$`)
	headline    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor = regexp.MustCompile(`[^\pL\pN _-]`)
)

// TestQuestions: each of the forty questions of docs/production.md has an answer: a link to a
// page and a headline that exist, or to a file that has the test of that name.
func TestQuestions(t *testing.T) {
	t.Parallel()
	const page = "docs/production.md"
	text := readFile(t, page)
	_, table, found := strings.Cut(text, "\n## Forty questions\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	rows := questionRow.FindAllStringSubmatch(table, -1)
	require.Len(t, rows, 40)
	tests := 0
	for i, row := range rows {
		require.Equal(t, strconv.Itoa(i+1), row[1], row[2])
		links := pageLink.FindAllStringSubmatch(row[3], -1)
		require.NotEmpty(t, links, "%s has no answer", row[2])
		for _, l := range links {
			require.NoError(t, leads(page, text, l[1], l[2]), row[2])
			if testName.MatchString(l[1]) {
				tests++
			}
		}
	}
	require.Greater(t, tests, 20)
	require.Error(t, leads(page, text, "x", "nowhere.md"))
	require.Error(t, leads(page, text, "x", "design.md#nowhere"))
	require.Error(t, leads(page, text, "TestNothing", "../broker/rights_test.go"))
}

// leads is nil if a link on a page leads to what it is called.
func leads(page, own, name, target string) error {
	file, anchor, _ := strings.Cut(target, "#")
	text := own
	if file != "" {
		read, err := os.ReadFile(filepath.Join(root, filepath.Dir(page), file))
		if err != nil {
			return err
		}
		text = string(read)
	}
	if testName.MatchString(name) {
		if !strings.HasSuffix(file, "_test.go") || !strings.Contains(text, "\nfunc "+name+"(t *testing.T)") {
			return os.ErrNotExist
		}
		return nil
	}
	for _, h := range headline.FindAllStringSubmatch(text, -1) {
		if strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor {
			return nil
		}
	}
	if anchor != "" {
		return os.ErrNotExist
	}
	return nil
}
