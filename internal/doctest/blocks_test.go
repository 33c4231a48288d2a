// Package doctest runs the commands of the README and the documentation as their
// readers would.
package doctest

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

// root is the repository's.
const root = "../.."

// command is one line of a page that a reader may type; lines that end with a
// backslash are one.
type command struct {
	page, line string
}

func (c command) String() string { return c.page + ": " + c.line }

// pages are all that is written for people, by their paths from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || strings.HasPrefix(name, ".") && len(name) > 2) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" || d.Name() == "CHANGELOG.md" {
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		all[filepath.ToSlash(name)] = string(text)
		return err
	}))
	require.Greater(t, len(all), 20)
	return all
}

var (
	fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	// typed is how a line begins that is typed, in a block that does not say what it
	// is.
	typed = regexp.MustCompile(`^(\$ |holdfast |make |go |docker |npm |cd )`)
	// inline is a command within a sentence.
	inline = regexp.MustCompile("`((?:holdfast|make|go|docker) [a-z.][^`]*)`")
)

// commands are those of all pages, in the order of the pages.
func commands(t *testing.T) (fenced, within []command) {
	t.Helper()
	all := pages(t)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, page := range names {
		for _, block := range fence.FindAllStringSubmatch(all[page], -1) {
			for _, line := range lines(block[1], block[2]) {
				fenced = append(fenced, command{page, line})
			}
		}
		for _, found := range inline.FindAllStringSubmatch(fence.ReplaceAllString(all[page], ""), -1) {
			within = append(within, command{page, found[1]})
		}
	}
	return fenced, within
}

// lines are the commands of a block in a language.
func lines(language, block string) (all []string) {
	shell := slices.Contains([]string{"sh", "bash", "shell", "console"}, language)
	if !shell && language != "" {
		return nil
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(block, "\\\n", ""), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || (!shell || language == "console") && !typed.MatchString(line) {
			continue
		}
		all = append(all, uncommented(strings.TrimPrefix(line, "$ ")))
	}
	return all
}

// uncommented is a line without the comment behind it.
func uncommented(line string) string {
	quote := rune(0)
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '#' && i > 0 && line[i-1] == ' ':
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}

func TestLines(t *testing.T) {
	require.Equal(t, []string{"make x", "holdfast dead list --key 'a # b'", "temporal y  --z"},
		lines("sh", "make x   # why\n# a remark\nholdfast dead list --key 'a # b' # c\ntemporal y \\\n --z\n\n"))
	require.Equal(t, []string{"holdfast dev"}, lines("", "some text\nholdfast dev # one shell\n"))
	require.Empty(t, lines("go", "holdfast dev\n"))
}
