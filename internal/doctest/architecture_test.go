package doctest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/measure"
)

// walks are the sections of docs/architecture.md that follow a call.
var walks = []string{"Express send", "Traced send", "Dead letter to compensation", "Saga message step", "Express saga"}

// TestWalks: each link of docs/architecture.md to a Go file names a function, method or
// type that is declared in exactly that file.
func TestWalks(t *testing.T) {
	t.Parallel()
	files, err := measure.Files(root)
	require.NoError(t, err)
	declared, err := measure.Declared(files)
	require.NoError(t, err)
	found := measure.Walks(readFile(t, measure.Page))
	for _, title := range walks {
		i := slices.IndexFunc(found, func(w measure.Walk) bool { return w.Title == title })
		require.GreaterOrEqual(t, i, 0, "the page has no walk %q", title)
		require.Greater(t, len(found[i].Steps), 10, title)
	}
	for _, w := range found {
		for _, s := range w.Steps {
			if !slices.Contains(declared[s.Name], s.File) {
				t.Errorf("%s, %q: %s is not declared in %s: %s", measure.Page, w.Title, s.Name, s.File, whereIs(declared, s.Name))
			}
		}
	}
}

// whereIs says where a name is declared now: as it stands on the page, or with another
// package.
func whereIs(declared measure.Declarations, name string) string {
	if at := declared[name]; len(at) > 0 {
		return "it is declared in " + strings.Join(at, ", ")
	}
	if _, bare, qualified := strings.Cut(name, "."); qualified && len(declared[bare]) > 0 {
		return "it may be what is declared in " + strings.Join(declared[bare], ", ")
	}
	return "nothing has this name any more"
}

// roomRow is a row of the table of rooms: its first cell names packages.
var (
	roomRow = regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	quoted  = regexp.MustCompile("`([^`]+)`")
)

// TestRooms: the table of rooms in docs/architecture.md has every package of the module,
// but for those that stand aside, and no others.
func TestRooms(t *testing.T) {
	t.Parallel()
	files, err := measure.Files(root)
	require.NoError(t, err)
	var there []string
	for _, f := range files {
		if dir := f.Dir(); !f.Aside() && !slices.Contains(there, dir) {
			there = append(there, dir)
		}
	}
	_, table, found := strings.Cut(readFile(t, measure.Page), "\n## The rooms\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	var listed []string
	for _, row := range roomRow.FindAllStringSubmatch(table, -1) {
		for _, name := range quoted.FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, name[1])
		}
	}
	slices.Sort(there)
	slices.Sort(listed)
	require.Equal(t, there, listed, "one row for each package, in %s under The rooms", measure.Page)
}
